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

/// Points have markers, lines while their points are few, dashed ones where the marker is not the default.
bool has_markers(const Series& series);

/// `name` starts the names of the data blocks: p0, p1, ...
PanelScript panel_script(const PanelLayout& panel, const Theme& theme, const std::string& name);

/// A number for the script: at most 8 significant digits, "NaN" when not finite.
std::string number(double value);

std::string colour(Colour value);  ///< '#rrggbb' in quotes

}  // namespace kvviz::plot
