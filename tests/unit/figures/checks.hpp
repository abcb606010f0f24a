// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/figures/named_figure.hpp"

namespace kvviz::synthetic {

/// Every text of a figure lies inside it and none lies over another.
void check_texts(const figures::NamedFigure& named);

/// Panels say what they show: a title, axes with labels (or names), colour bars with a label unless the
/// neighbour's.
void check_labelled(const figures::NamedFigure& named);

/// All become PNG files of their size.
void draw(const std::vector<figures::NamedFigure>& all);

}  // namespace kvviz::synthetic
