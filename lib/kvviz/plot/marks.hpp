// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/plot/layout.hpp"

namespace kvviz::plot {

/// Data blocks, settings and the elements of the plot command of one panel.
struct PanelScript {
  std::string blocks;                 ///< $name << EOD ... EOD
  std::string settings;               ///< set ...
  std::vector<std::string> elements;  ///< of one plot command, in drawing order
};

/// `name` starts the names of the data blocks: p0, p1, ...
PanelScript panel_script(const PanelLayout& panel, const Theme& theme, const std::string& name);

/// A number for the script: at most 8 significant digits, "NaN" when not finite.
std::string number(double value);

/// The cross of a point without a value.
inline constexpr const char* kMissing = "pointtype 2 pointsize 1*point linewidth 2";

/// gnuplot's type and size of a marker; `point` is a variable of the script, what a terminal's points need.
std::string shape(Marker marker);

std::string colour(Colour value);  ///< '#rrggbb' in quotes

}  // namespace kvviz::plot
