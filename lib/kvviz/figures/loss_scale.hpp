// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/plot/figure.hpp"
#include "kvviz/plot/prepare.hpp"

namespace kvviz::figures {

/// A logarithmic scale for losses that reach from nothing (or a gain) to a factor of thousands. It ends at
/// 1000 %: a policy that loses more has broken the model, however much it is.
class LossScale {
 public:
  explicit LossScale(std::vector<double> losses);
  double floor() const { return floor_; }
  bool capped() const { return capped_; }
  /// On the floor where it is less, at the ceiling where it is more; NaN stays so.
  double shown(double loss) const;
  /// Lengths of an error bar within the scale; none at its ends.
  plot::ErrorBar bar(double loss, double error) const;
  plot::Axis axis(const std::string& label) const;

 private:
  double floor_ = 0, most_ = 0;
  bool capped_ = false;
};

std::string bytes_label(double bytes);      ///< "12.4 MiB"
std::string percent_label(double percent);  ///< "+1.2 %", three digits

/// Looks of many lines: 35 numbers differ in colour, or in marker and, from one round of colours to the next,
/// in dashes.
void set_look(plot::Series& series, size_t number);

}  // namespace kvviz::figures
