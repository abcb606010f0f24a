// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/report/check.hpp"
#include "kvviz/report/result.hpp"
#include "kvviz/report/tolerance.hpp"

namespace kvviz {

/// One difference between a baseline `a` and `b` that is not tolerated.
struct Move {
  std::string path;  ///< as a gate has it: "full_ppl", "compress.kivi:4.kl"; of a row or column what names it
  std::string what;  ///< "moved", "missing in b", "only in b", "null in b (too short)", "h2o became tova"
  std::optional<double> a, b;
  double allowed = 0;  ///< |b - a|, where both are numbers
};

/// What was compared of a part of both results: "summary" or a table.
struct MovedPart {
  std::string name;
  int64_t compared = 0, ignored = 0;  ///< values
  std::vector<Move> moves;            ///< the worst first: what is missing, then by |b - a| / allowed
};

/// Every value of `b` against the baseline `a`: facts by their key, rows by the columns that name them (by
/// their number where none do), whatever their order.
///
/// Numbers may move within their bound; text has to be the same, a null has to be null in both, and a fact,
/// table, column or row that only one of them has is a move. Two kinds of numbers are compared only where a
/// pattern matches them: those in units of time (s, ms, us, ns, and rates such as tokens/s), and standard
/// errors ("x_se"), which say how sure a number is.
///
/// Throws UsageError when a pattern matches nothing in either of them: it would tolerate nothing.
std::vector<MovedPart> moves_between(const Result& a, const Result& b, Tolerances tolerances);

/// "compress.kivi:4.kl: 0.02 -> 0.03 (allowed +-0.0002)", or what else is the matter with the path.
std::string in_words(const Move& move);

/// The moves of all parts: what is missing or no number, then by |b - a| / allowed.
std::vector<Move> worst_first(const std::vector<MovedPart>& parts);

/// "moved", key: path, with what, a, b, difference, difference_percent (of |a|), allowed; all parts, the
/// worst first.
Table moves_table(const std::vector<MovedPart>& parts);

/// A check for each part, named "--tolerance PART"; the details list up to 20 moves.
std::vector<Check> checks_of(const std::vector<MovedPart>& parts);

/// The provenance of the two that differs, by its keys: "version, options.seq-len"; empty: nothing but
/// commit, command line and threads does.
std::string provenance_differences(const Result& a, const Result& b);

}  // namespace kvviz
