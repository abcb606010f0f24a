// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/plot/figure.hpp"
#include "kvviz/plot/prepare.hpp"

namespace kvviz::figures {

/// An increase of perplexity and its standard error, in percent.
struct Loss {
  double percent = 0, error = 0;
};

Loss loss_of(const analysis::CacheOutcome& outcome);

/// A scale for losses that reach from nothing (or a gain) to a factor of thousands: logarithmic, from the
/// power of ten below the least max(|loss|, error / 3) (0.01 to 1 %) to the largest loss + error. It ends at
/// 1000 %: a policy that loses more has broken the model, however much it is. Linear, and all shown, where
/// the largest loss is less than ten times the largest gain: a logarithmic scale has no place for gains.
class LossScale {
 public:
  explicit LossScale(const std::vector<Loss>& losses);
  /// On the floor where it is less, at the ceiling where it is more; NaN stays so.
  double shown(double loss) const;
  /// Lengths of an error bar within the scale; none at the ceiling.
  plot::ErrorBar bar(const Loss& loss) const;
  plot::Axis axis(const std::string& label) const;
  /// What stands at the ends, as sentences to append; empty: nothing does.
  std::string note() const;

 private:
  double floor_ = 0, most_ = 0;  // percent; of a linear scale the least and the largest loss -+ error
  bool capped_ = false, linear_ = false;
};

std::string bytes_label(double bytes);      ///< "12.4 MiB"
std::string percent_label(double percent);  ///< "+1.2 %", three digits

/// Looks of many lines: 35 numbers differ in colour, or in marker and, from one round of colours to the next,
/// in dashes.
void set_look(plot::Series& series, size_t number);

}  // namespace kvviz::figures
