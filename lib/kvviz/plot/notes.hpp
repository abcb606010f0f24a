// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/plot/layout.hpp"

namespace kvviz::plot {

/// The notes of a panel as texts inside its axes: right of, left of, above or below their point, wherever
/// they cross the fewest lines and edges of bars; never over a marker, a whisker, the top of a bar, an
/// earlier note or an end label. Notes outside the axes or without room are left out.
std::vector<TextLine> place_notes(const PanelLayout& panel, const Theme& theme);

}  // namespace kvviz::plot
