// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/plot/layout.hpp"

namespace kvviz::plot {

/// Pixels right of the axes that the end labels of the panel's lines may need; 0 without any.
double end_label_room(const Panel& panel, const Theme& theme);

/// Adds the end labels to the panel's texts, with leaders from the lines' last points. Lines that end near
/// each other have their labels in one column, in the order of their last points and moved as little as
/// possible (in the sense of least squares) for none to touch another. Of more labels than the height of the
/// axes has room for, the last series' are left out. Needs the place of the axes, and their ranges.
void place_end_labels(PanelLayout& panel, const Theme& theme);

}  // namespace kvviz::plot
