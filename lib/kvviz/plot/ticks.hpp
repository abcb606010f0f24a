// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/plot/figure.hpp"

namespace kvviz::plot {

/// `at` is in axis units: log10 of the value on a log10 axis.
struct Tick {
  double at = 0;
  std::string label;
};

/// A range in axis units, low < high.
struct Range {
  double low = 0, high = 1;
};

/// The room that tick labels have along an axis.
struct TickSpace {
  double length = 0;      ///< pixels of the axis
  double font_size = 13;  ///< pixels
  bool vertical = false;  ///< a y axis: labels need height instead of width
};

struct TickRow {
  std::vector<Tick> ticks;
  bool rotated = false;  ///< labels read upwards (x axis only)
  double depth = 0;      ///< pixels the labels take away from the axis
};

/// Ticks that never touch each other. Names are shown when all that lie in the range fit (upright, else
/// rotated on an x axis); otherwise numbers: multiples of 1, 2 or 5 x 10^n, for a whole axis never below 1;
/// decades on a log10 axis.
TickRow axis_ticks(const Axis& axis, const Range& range, const TickSpace& space);

/// Shortest text with at most `decimals` decimals: 0.3, 12, 25000 as 25k; with more than 5 decimals or from
/// 10¹⁵ on as 1.5×10⁻⁷.
std::string number_label(double value, int decimals);

/// 10^exponent: 0.001 .. 1000 in full, beyond as 10⁴, 10⁻⁴.
std::string power_label(int exponent);

}  // namespace kvviz::plot
