// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/plot/figure.hpp"
#include "kvviz/plot/ticks.hpp"

namespace kvviz::plot {

/// Mean of blocks of `row_block` x `col_block` cells (values that are not finite are left out; a block
/// without any is NaN), or their most frequent category. The cell positions and steps follow.
Heatmap pooled(const Heatmap& map, int row_block, int col_block);

/// Whether the panel is a surface in three dimensions.
bool has_surface(const Panel& panel);

/// Value in axis units: itself, or its log10; NaN where the axis has no place for it.
double on_axis(double value, Scale scale);

/// How far an error bar reaches from its value; 0 where there is none.
struct ErrorBar {
  double below = 0, above = 0;
};
ErrorBar error_bar(const Bars::Group& group, size_t i);
ErrorBar error_bar(const Series& series, size_t i);

/// What the axes of a panel cover, in axis units, and the colours of a heat map, in z units.
struct PanelRanges {
  Range x, y;
};
PanelRanges ranges(const Panel& panel);
Range z_range(const Heatmap& map);

/// Every series, group and reference gets its colour: its own or the next of the theme.
Panel coloured(Panel panel, const Theme& theme);

/// At most 2 points a pixel: the least and the largest y of each pixel column, so that the drawing is the
/// same; of impulses the longest. A pixel column with a value that is not finite keeps only that one. Only
/// for ascending x. A thinned series has no error bars.
Series thinned(const Series& series, double pixels);
/// Impulses of which thinned() keeps the longest; 1: it keeps all, or they are no impulses.
int64_t bars_per_pixel(const Series& series, double pixels);

/// Opacity of areas, in the plot and in the legend.
inline constexpr double kBandOpacity = 0.22, kHistogramOpacity = 0.35, kBarOpacity = 0.85;

/// The marker at the points of a series; none where it shows none: of impulses, and of lines of many points.
Marker drawn_marker(const Series& series);

enum class Swatch { line, dashed, points, missing, box };
/// A sample of a mark as it is drawn.
struct LegendEntry {
  std::string label;
  Swatch swatch = Swatch::line;
  Colour colour;
  Marker marker = Marker::none;     ///< of points, and in the middle of a line
  double opacity = 1;               ///< of a box
  std::optional<Colour> outline{};  ///< of a box; light ones are not seen without
};
/// Of cells of this colour.
LegendEntry cell_entry(const std::string& label, Colour colour);
/// One entry for every label, and what grey stands for where something has no value.
std::vector<LegendEntry> legend(const Panel& panel);

}  // namespace kvviz::plot
