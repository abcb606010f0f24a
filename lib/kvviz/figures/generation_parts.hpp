// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/figures/generation_figures.hpp"

namespace kvviz::figures {

// What the files of the generation's figures share.

inline plot::Axis step_axis() {
  return {.label = "generated token", .whole = true};
}

/// Without markers, unless the points are so few that they have to be seen one by one.
inline plot::Series thin(plot::Series series) {
  if (series.x.size() > 12) series.marker = plot::Marker::none;
  return series;
}

/// About two lines of a caption.
inline constexpr double kCaptionWidth = 2400, kCaptionSize = 13;

/// Size of each text's cache after each token.
plot::Panel bytes_panel(std::span<const analysis::EvictedText> texts);

/// generation/policies and generation/bytes; there are evicted texts.
NamedFigure policies_figure(const analysis::GenerationStudy& study);
NamedFigure bytes_figure(const analysis::GenerationStudy& study);

}  // namespace kvviz::figures
