// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// How far a number may move: |b - a| <= absolute + relative |a|, with 4 units in the last place of the
/// greater one where that is not 0: 1 % of 1 lets 1.01 pass.
struct Bound {
  double absolute = 1e-4;
  double relative = 0.01;
  bool ignored = false;     ///< not compared at all, not even whether it is there
  bool is_default = false;  ///< of numbers in %, the absolute part counts a hundred times

  Bound in_unit(const std::string& unit) const;
  double allowed(double a) const;
  bool holds(double a, double b) const;
};

/// One --tolerance: [PATTERN=]BOUND.
///   BOUND     0.01      an absolute difference
///             2%        of the value in a
///             0.01+2%   the sum of both
///             default   1e-4+1%, of numbers in % 0.01+1%
///             ignore    do not compare
///   PATTERN   whole paths as a gate has them (full_ppl, compress.kivi:4.kl), with * for any text and ? for
///   one
///             character; or a column (kl), a table and its column (compress.kl), a table (compress_heads),
///             or summary for all facts
/// The last "=" of the text splits it. Without a PATTERN it is the bound of all that no pattern matches.
struct ToleranceRule {
  std::string text;     ///< as given
  std::string pattern;  ///< empty: of all
  Bound bound;
};

/// Throws UsageError: no bound, a negative one, a pattern that is empty.
ToleranceRule parse_tolerance(std::string_view text);

/// Whether `text` is `pattern`, in which * stands for any text and ? for one byte. Cost: the product of the
/// lengths at worst.
bool matches(std::string_view pattern, std::string_view text);

/// The rules of a comparison: of those that match, the last given decides.
class Tolerances {
 public:
  explicit Tolerances(const std::vector<std::string>& texts);

  /// The place of the deciding rule among these names of one value; nullopt: none. Marks every rule that
  /// matches as used.
  std::optional<size_t> rule(const std::vector<std::string>& names);
  const Bound& bound(std::optional<size_t> rule) const { return rule ? rules_[*rule].bound : base_; }
  const Bound& base() const { return base_; }
  bool has_rules() const { return !rules_.empty(); }
  /// The rules that have matched nothing, as given.
  std::vector<std::string> unused() const;

 private:
  Bound base_{.is_default = true};
  std::vector<ToleranceRule> rules_;
  std::vector<bool> used_;
};

}  // namespace kvviz
