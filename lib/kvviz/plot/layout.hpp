// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kvviz/plot/figure.hpp"
#include "kvviz/plot/prepare.hpp"
#include "kvviz/plot/ticks.hpp"

namespace kvviz::plot {

/// Design pixels, origin at the lower left of the figure.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

enum class Align { left, centre, right };

/// A line of text; `y` is the middle of its height.
struct TextLine {
  std::string text;
  double x = 0, y = 0, size = 13;
  Align align = Align::centre;
  bool bold = false, upright = false;  ///< upright: reads from bottom to top
  Colour colour = colours::text;
  bool opaque = false;  ///< on a white ground
};

/// A thin grey line from a point to its label.
struct Leader {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

struct PlacedLegend {
  LegendEntry entry;
  double x = 0, y = 0;  ///< left end and middle of the swatch
};

struct PanelLayout {
  Panel panel;  ///< coloured, its heat maps pooled
  Box cell;     ///< with all its texts
  Box plot;     ///< inside the axes
  PanelRanges range;
  TickRow x_ticks, y_ticks;
  std::vector<TextLine> texts;
  std::vector<Leader> leaders;
  std::vector<PlacedLegend> legend;
  std::optional<Box> colour_bar;
  Range z;
  TickRow z_ticks;
};

struct FigureLayout {
  int width = 0, height = 0;
  std::vector<TextLine> texts;
  std::vector<PlacedLegend> legend;
  std::vector<PanelLayout> panels;
};

/// The heat map that the panel's colour bar explains; null where it has none.
const Heatmap* bar_of(const Panel& panel);

/// Width of a legend swatch and its distance to the text.
inline constexpr double kSwatch = 26, kSwatchGap = 6;

/// Places everything: the titles, the axes of every panel (aligned within a column of panels), legends,
/// colour bars.
FigureLayout lay_out(const Figure& figure, const Theme& theme);

/// The figure at 1 / `scale` of its size, beside which text, lines and markers are `scale` times as large;
/// then higher by what its texts take, so that each row of axes keeps its height. Panels that would
/// be too narrow for their labels stand in fewer columns; a narrow figure stays wide enough for one.
Figure with_text_scale(Figure figure, const Theme& theme, double scale);

}  // namespace kvviz::plot
