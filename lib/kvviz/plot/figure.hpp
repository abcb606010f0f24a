// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kvviz/plot/theme.hpp"

namespace kvviz::plot {

/// log10: values at or below 0 have no place on the axis and are treated like NaN.
enum class Scale { linear, log10 };

struct Axis {
  std::string label;  ///< with the unit
  Scale scale = Scale::linear;
  bool whole = false;                ///< ticks only at whole numbers: indices of layers, heads, tokens
  std::optional<double> min, max;    ///< else from the data
  std::vector<std::string> names{};  ///< text of position 0, 1, ...; shown where all fit, else numbers
  /// What is less (more) the caller draws here: the tick here reads "≤ ..." ("≥ ..."), the last on its side.
  std::optional<double> floor{}, ceiling{};
};

/// Impulses are bars from the floor; where they are too many for gaps between them, one stepped area.
enum class Stroke { line, dashed, points, impulses };
enum class Marker { disc, square, triangle, diamond, inverted, ring, none };

struct Series {
  std::string label;  ///< empty: not in the legend
  std::vector<double> x, y;
  std::optional<Colour> colour{};
  Stroke stroke = Stroke::line;
  Marker marker = Marker::disc;        ///< of points, and of lines of few points
  double width = 1;                    ///< of the line, relative to the theme's
  std::vector<double> errors{};        ///< lengths of the error bars, downwards and upwards; empty: none
  std::vector<double> errors_above{};  ///< upwards, where that differs; empty: as `errors`
  std::string end_label{};             ///< beside the last point, in the series' colour; empty: none
  bool strong = false;                 ///< the end label in bold
};

/// Series over x. A line gets markers while its points are few. A y that is not finite breaks the line and is
/// marked by a grey cross at the bottom. End labels never touch: they stand in columns behind the last
/// points, joined to them by thin lines.
struct Lines {
  std::vector<Series> series;
};

/// Bars at x = 0, 1, ..., beside each other or stacked; all groups have one value a position.
struct Bars {
  struct Group {
    std::string label;
    std::vector<double> values;
    std::vector<double> errors{};  ///< lengths of the error bars, downwards and upwards; empty: none
    std::optional<Colour> colour{};
    std::vector<double> errors_above{};  ///< upwards, where that differs; empty: as `errors`
  };
  std::vector<Group> groups;
  bool stacked = false;  ///< values >= 0, without error bars
};

/// Counts (or shares) between edges, drawn as filled steps. On a log10 x axis the edges are magnitudes.
struct Histogram {
  struct Group {
    std::string label;
    std::vector<double> counts;
    std::optional<Colour> colour{};
  };
  std::vector<double> edges;  ///< counts.size() + 1, ascending
  std::vector<Group> groups;
};

/// The area between two curves: a spread around a line.
struct Band {
  std::string label;
  std::vector<double> x, low, high;
  std::optional<Colour> colour{};
};

/// What cells of a heat map with this number belong to.
struct Category {
  std::string label;
  Colour colour;
};

/// A matrix of coloured cells, row 0 at the top. The centre of cell (r, c) stands at (x0 + c dx, y0 + r dy),
/// in log10 units on a log10 axis. Not finite: grey. More rows or columns than can be seen are pooled (mean
/// of blocks), and the axis label says so.
struct Heatmap {
  std::vector<double> z;  ///< [rows x cols]
  int rows = 0, cols = 0;
  std::string z_label;
  ColourMap map = ColourMap::sequential;
  Scale z_scale = Scale::linear;
  std::optional<double> z_min, z_max;  ///< else from the data
  double x0 = 0, dx = 1, y0 = 0, dy = 1;
  int decimals = 2;                   ///< of the numbers in cells that are large enough; < 0: never any
  std::optional<double> threshold{};  ///< marked on the colour bar in the sink colour; cells above it are
                                      ///< outlined along their edges, unless they are too small for it
  bool threshold_inclusive = false;   ///< a cell at the threshold is outlined too
  bool surface = false;  ///< drawn as a step surface in three dimensions, the threshold as the outline
                         ///< of a plane; the panel's only mark but for references, which are left out
  std::string nothing_label = "no value";  ///< what grey means, for the legend; empty: not in the legend
  /// Cells are members of a kind, not sizes: z is the index of one of these, which stand in the legend in
  /// place of a colour bar (no z_label). Pooled to the most frequent, the first among equals.
  std::vector<Category> categories{};
};

/// A straight line across the panel. Its label stands in the legend.
struct Reference {
  enum class Direction { horizontal, vertical };
  Direction direction = Direction::horizontal;
  double at = 0;
  std::string label;
  std::optional<Colour> colour{};
};

/// A short text beside a data point, where it covers as little as possible. A note without room beside the
/// earlier ones is left out. Not in a panel with a heat map, whose y axis points down.
struct Note {
  double x = 0, y = 0;
  std::string text;
  bool strong = false;  ///< in bold on white, whatever lines it covers
};

using Mark = std::variant<Heatmap, Band, Histogram, Bars, Lines, Reference, Note>;

struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Mark> marks;
  std::string note{};  ///< small print under the title: what to keep in mind when reading the panel
  std::string nothing = "no value to show";  ///< in the middle of a panel whose marks hold no value
};

/// Panels row by row in a grid. Nothing overlaps: titles wrap, tick labels thin out, legends have rows of
/// their own.
struct Figure {
  std::string title;
  std::vector<Panel> panels;
  std::string subtitle{};  ///< what was measured on what
  std::string caption{};   ///< at the foot
  int columns = 1;
  int width = 1500, height = 1000;    ///< design pixels
  std::vector<double> row_weights{};  ///< heights of the rows relative to each other; empty: equal
  std::vector<double> column_weights{};
  std::vector<Category> legend{};  ///< colours with one meaning in all panels, under the subtitle
};

}  // namespace kvviz::plot
