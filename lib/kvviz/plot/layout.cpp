// SPDX-License-Identifier: MIT
#include "kvviz/plot/layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/end_labels.hpp"
#include "kvviz/plot/text.hpp"

namespace kvviz::plot {
namespace {

constexpr double kFilled = 0.97;   // of a width that lines of text fill: fitted to pixels, letters are wider
constexpr double kLine = 1.3;      // height of a line of text, in font sizes
constexpr double kEdge = 14;       // free border of the figure
constexpr double kPanelGap = 26;   // between panels
constexpr double kTickGap = 10;    // between an axis and its tick labels
constexpr double kColourBar = 16;  // width of a colour bar
constexpr double kLegendGap = 22;  // between legend entries
constexpr double kLeastPlot = 40;  // least width and height of the area inside the axes

/// What a panel needs around its axes.
struct Margins {
  double left = 0, right = 0, top = 0, bottom = 0;
};

/// One panel on its way to a PanelLayout.
struct Draft {
  PanelLayout out;
  Box cell;
  Margins margins;
  std::vector<std::string> title, note;
  std::vector<std::vector<LegendEntry>> legend;
};

/// Values beyond the colours' limits have the limits' colours, which the ends of the axis then say.
Axis z_axis(const Heatmap& map) {
  Axis axis{map.z_label, map.z_scale, false, {}, {}, {}};
  const Range z = z_range(map);
  const bool log = map.z_scale == Scale::log10;
  const double slack = 1e-6 * (z.high - z.low);
  for (const double value : map.z) {
    if (!std::isfinite(value)) continue;
    const double at = on_axis(value, map.z_scale);
    if (!(at >= z.low - slack)) axis.floor = log ? std::pow(10.0, z.low) : z.low;
    if (at > z.high + slack) axis.ceiling = log ? std::pow(10.0, z.high) : z.high;
  }
  return axis;
}

double entry_width(const LegendEntry& entry, const Theme& theme) {
  return kSwatch + kSwatchGap + text_width(entry.label, theme.note_size) + kLegendGap;
}

std::vector<std::vector<LegendEntry>> legend_rows(std::vector<LegendEntry> entries, double width,
                                                  const Theme& theme) {
  std::vector<std::vector<LegendEntry>> rows;
  double used = width;
  for (LegendEntry& entry : entries) {
    entry.label = shortened(one_line(entry.label), width - kSwatch - kSwatchGap, theme.note_size);
    const double needed = entry_width(entry, theme);
    if (used + needed - kLegendGap > width) rows.emplace_back(), used = 0;
    rows.back().push_back(entry);
    used += needed;
  }
  return rows;
}

Draft begin(const Panel& panel, const Box& cell, const Theme& theme) {
  Draft d;
  d.out.panel = coloured(panel, theme);
  d.cell = cell;
  d.out.range = ranges(d.out.panel);
  d.title = wrapped(panel.title, kFilled * cell.width, theme.panel_title_size * kBoldWidth);
  d.note = wrapped(panel.note, kFilled * cell.width, theme.note_size);
  d.legend = legend_rows(legend(d.out.panel), cell.width, theme);
  const auto rows = [](const auto& lines) { return static_cast<double>(lines.size()); };
  d.margins.top =
      kLine * (rows(d.title) * theme.panel_title_size + (rows(d.note) + rows(d.legend)) * theme.note_size) +
      8;
  const TickSpace tall{std::max(kLeastPlot, cell.height - d.margins.top - 50), theme.tick_size, true};
  d.margins.left = axis_ticks(panel.y, {d.out.range.y.low, d.out.range.y.high}, tall).depth + kTickGap +
                   (panel.y.label.empty() ? 0 : kLine * theme.label_size + 8);
  if (const Heatmap* map = bar_of(panel)) {
    d.out.z = z_range(*map);
    d.margins.right = 12 + kColourBar + kTickGap + axis_ticks(z_axis(*map), d.out.z, tall).depth + 4 +
                      kLine * theme.label_size;
  } else {
    d.margins.right = std::max(12.0, end_label_room(d.out.panel, theme));
  }
  return d;
}

/// How many cells share one drawn cell, so that at most `room` are drawn.
int block_of(int cells, double room) {
  return static_cast<int>(std::ceil(cells / std::max(1.0, std::floor(room))));
}

void pool(Panel& panel, const Box& plot, const Theme& theme) {
  for (Mark& mark : panel.marks) {
    if (const auto* lines = std::get_if<Lines>(&mark)) {
      int64_t most = 1;
      for (const Series& series : lines->series) most = std::max(most, bars_per_pixel(series, plot.width));
      if (most > 1) panel.x.label += fmt::format(" (longest of {} per bar)", most);
    }
    auto* map = std::get_if<Heatmap>(&mark);
    if (map == nullptr) continue;
    const int rows = block_of(map->rows, std::min<double>(theme.max_cells, plot.height));
    const int cols = block_of(map->cols, std::min<double>(theme.max_cells, plot.width));
    const char* what = map->categories.empty() ? "mean" : "most frequent";
    if (rows > 1) panel.y.label += fmt::format(" ({} of {} per row)", what, rows);
    if (cols > 1) panel.x.label += fmt::format(" ({} of {} per column)", what, cols);
    if (rows > 1 || cols > 1) *map = pooled(*map, rows, cols);
  }
}

double row_width(const std::vector<LegendEntry>& row, const Theme& theme) {
  double width = -kLegendGap;
  for (const LegendEntry& entry : row) width += entry_width(entry, theme);
  return width;
}

/// A row of legend entries from `x` on, the middle of its height at `y`.
template <class Layout>
void place_legend_row(Layout& out, const std::vector<LegendEntry>& row, double x, double y,
                      const Theme& theme) {
  for (const LegendEntry& entry : row) {
    out.legend.push_back({entry, x, y});
    out.texts.push_back({entry.label, x + kSwatch + kSwatchGap, y, theme.note_size, Align::left});
    x += entry_width(entry, theme);
  }
}

/// The lowest edge of the lines, which stand over the axes, between two places; `top` where there is none.
double lowest_between(const std::vector<TextLine>& lines, double left, double right, double top) {
  for (const TextLine& line : lines)
    if (line.x < right &&
        line.x + text_width(line.text, line.bold ? line.size * kBoldWidth : line.size) > left)
      top = std::min(top, line.y - line.size / 2);
  return top;
}

/// An axis label that would leave the box on one side is moved.
void keep_inside(TextLine& line, const Box& box) {
  const double half = text_width(line.text, line.size) / 2;
  double& at = line.upright ? line.y : line.x;
  const double low = (line.upright ? box.y : box.x) + half,
               high = (line.upright ? box.y + box.height : box.x + box.width) - half;
  at = low < high ? std::clamp(at, low, high) : (low + high) / 2;
}

void place_texts(Draft& d, const Theme& theme) {
  PanelLayout& out = d.out;
  const Box& plot = out.plot;
  double y = d.cell.y + d.cell.height;
  const double left = plot.x;
  const auto add_lines = [&](const std::vector<std::string>& lines, double size, bool bold, Colour colour) {
    double room = 0;
    for (const std::string& line : lines)
      room = std::max(room, text_width(line, bold ? size * kBoldWidth : size) / kFilled);
    const double x = std::max(d.cell.x, std::min(left, d.cell.x + d.cell.width - room));
    for (const std::string& line : lines) {
      y -= kLine * size;
      out.texts.push_back({line, x, y + kLine * size / 2, size, Align::left, bold, false, colour});
    }
  };
  add_lines(d.title, theme.panel_title_size, true, colours::text);
  add_lines(d.note, theme.note_size, false, {0x555555});
  for (const auto& row : d.legend) {
    y -= kLine * theme.note_size;
    const double x = std::max(d.cell.x, std::min(left, d.cell.x + d.cell.width - row_width(row, theme)));
    place_legend_row(out, row, x, y + kLine * theme.note_size / 2, theme);
  }
  const double half = kLine * theme.label_size / 2;
  const Panel& panel = out.panel;
  const bool flat = !has_surface(panel);  // else gnuplot turns the labels with the axes
  const std::vector<TextLine> above = out.texts;
  double foot_left = plot.x, foot_right = plot.x;  // of the x label
  if (flat && !panel.x.label.empty()) {
    out.texts.push_back({shortened(one_line(panel.x.label), d.cell.width, theme.label_size),
                         plot.x + plot.width / 2, d.cell.y + half, theme.label_size});
    keep_inside(out.texts.back(), d.cell);
    const double middle = out.texts.back().x, reach = text_width(out.texts.back().text, theme.label_size) / 2;
    foot_left = middle - reach, foot_right = middle + reach;
  }
  const auto add_upright = [&](const std::string& label, double x) {
    const double top = lowest_between(above, x - half, x + half, d.cell.y + d.cell.height);
    const bool over_foot = x + half > foot_left && x - half < foot_right;
    const double bottom = d.cell.y + (over_foot ? 2 * half : 0);
    out.texts.push_back({shortened(one_line(label), top - bottom, theme.label_size), x,
                         plot.y + plot.height / 2, theme.label_size, Align::centre, false, true});
    keep_inside(out.texts.back(), {d.cell.x, bottom, d.cell.width, top - bottom});
  };
  if (flat && !panel.y.label.empty()) add_upright(panel.y.label, d.cell.x + half);
  if (const Heatmap* map = bar_of(panel)) add_upright(map->z_label, d.cell.x + d.cell.width - half);
}

/// Needs the left and right margins.
void measure_foot(Draft& d, const Theme& theme) {
  d.out.plot.x = d.cell.x + d.margins.left;
  d.out.plot.width = std::max(kLeastPlot, d.cell.width - d.margins.left - d.margins.right);
  d.out.x_ticks = axis_ticks(d.out.panel.x, d.out.range.x, {d.out.plot.width, theme.tick_size, false});
  d.margins.bottom =
      kTickGap + d.out.x_ticks.depth + (d.out.panel.x.label.empty() ? 0 : kLine * theme.label_size + 2);
}

PanelLayout finish(Draft d, const Theme& theme) {
  PanelLayout& out = d.out;
  out.cell = d.cell;
  Box& plot = out.plot;
  plot.y = d.cell.y + d.margins.bottom;
  plot.height = std::max(kLeastPlot, d.cell.height - d.margins.top - d.margins.bottom);
  out.y_ticks = axis_ticks(out.panel.y, out.range.y, {plot.height, theme.tick_size, true});
  if (const Heatmap* map = bar_of(out.panel)) {
    out.colour_bar = Box{plot.x + plot.width + 12, plot.y, kColourBar, plot.height};
    out.z_ticks = axis_ticks(z_axis(*map), out.z, {plot.height, theme.tick_size, true});
  }
  pool(out.panel, plot, theme);
  out.range = ranges(out.panel);
  place_texts(d, theme);
  place_end_labels(out, theme);
  return std::move(d.out);
}

/// The axes of one column of panels line up, and those of one row.
void align(std::vector<Draft>& drafts, size_t columns, const Theme& theme) {
  for (size_t c = 0; c < columns; ++c) {
    Margins widest;
    for (size_t i = c; i < drafts.size(); i += columns) {
      widest.left = std::max(widest.left, drafts[i].margins.left);
      widest.right = std::max(widest.right, drafts[i].margins.right);
    }
    for (size_t i = c; i < drafts.size(); i += columns)
      drafts[i].margins.left = widest.left, drafts[i].margins.right = widest.right;
  }
  for (Draft& draft : drafts) measure_foot(draft, theme);
  for (size_t first = 0; first < drafts.size(); first += columns) {
    const size_t end = std::min(first + columns, drafts.size());
    Margins widest;
    for (size_t i = first; i < end; ++i) {
      widest.top = std::max(widest.top, drafts[i].margins.top);
      widest.bottom = std::max(widest.bottom, drafts[i].margins.bottom);
    }
    for (size_t i = first; i < end; ++i)
      drafts[i].margins.top = widest.top, drafts[i].margins.bottom = widest.bottom;
  }
}

std::vector<double> shares(size_t count, const std::vector<double>& weights) {
  std::vector<double> out(count, 1.0);
  for (size_t i = 0; i < count && i < weights.size(); ++i) out[i] = weights[i];
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& share : out) share /= sum;
  return out;
}

}  // namespace

const Heatmap* bar_of(const Panel& panel) {
  for (const Mark& mark : panel.marks)
    if (const auto* map = std::get_if<Heatmap>(&mark)) return map->z_label.empty() ? nullptr : map;
  return nullptr;
}

FigureLayout lay_out(const Figure& figure, const Theme& theme) {
  require(figure.width >= 200 && figure.height >= 150, "figure \"", figure.title, "\" is ", figure.width,
          " x ", figure.height, " pixels; expected at least 200 x 150");
  FigureLayout out{figure.width, figure.height, {}, {}, {}};
  const double inner = figure.width - 2 * kEdge;
  double top = figure.height - kEdge, bottom = kEdge;
  const auto add = [&](const std::string& text, double size, bool bold) {
    for (const std::string& line : wrapped(text, kFilled * inner, bold ? size * kBoldWidth : size)) {
      out.texts.push_back({line, figure.width / 2.0, top - kLine * size / 2, size, Align::centre, bold, false,
                           colours::text});
      top -= kLine * size;
    }
  };
  add(figure.title, theme.title_size, true);
  add(figure.subtitle, theme.note_size, false);
  std::vector<LegendEntry> entries;
  for (const Category& category : figure.legend)
    entries.push_back(cell_entry(category.label, category.colour));
  for (const auto& row : legend_rows(std::move(entries), inner, theme)) {
    place_legend_row(out, row, (figure.width - row_width(row, theme)) / 2, top - kLine * theme.note_size / 2,
                     theme);
    top -= kLine * theme.note_size;
  }
  top -= 10;
  std::vector<std::string> foot = wrapped(figure.caption, kFilled * inner, theme.note_size);
  for (auto line = foot.rbegin(); line != foot.rend(); ++line) {
    out.texts.push_back({*line, kEdge, bottom + kLine * theme.note_size / 2, theme.note_size, Align::left});
    bottom += kLine * theme.note_size;
  }
  if (!foot.empty()) bottom += 8;

  const size_t columns = static_cast<size_t>(std::max(1, figure.columns));
  const size_t rows = (figure.panels.size() + columns - 1) / columns;
  const std::vector<double> heights = shares(rows, figure.row_weights),
                            widths = shares(columns, figure.column_weights);
  const double free_width = inner - kPanelGap * static_cast<double>(columns - 1);
  const double free_height = top - bottom - kPanelGap * static_cast<double>(rows > 0 ? rows - 1 : 0);
  std::vector<Draft> drafts;
  double y = top;
  for (size_t r = 0; r < rows; ++r) {
    y -= free_height * heights[r];
    double x = kEdge;
    for (size_t c = 0; c < columns && r * columns + c < figure.panels.size(); ++c) {
      drafts.push_back(begin(figure.panels[r * columns + c],
                             {x, y, free_width * widths[c], free_height * heights[r]}, theme));
      x += free_width * widths[c] + kPanelGap;
    }
    y -= kPanelGap;
  }
  align(drafts, columns, theme);
  for (Draft& draft : drafts) out.panels.push_back(finish(std::move(draft), theme));
  return out;
}

Figure with_text_scale(Figure figure, const Theme& theme, double scale) {
  constexpr double least_width = 270, least_axes = 70;
  const FigureLayout before = lay_out(figure, theme);
  const auto panels = static_cast<int>(figure.panels.size());
  const auto rows = [&] { return (panels + figure.columns - 1) / figure.columns; };
  figure.columns = std::max(1, figure.columns);
  const int rows_before = rows();
  scale = std::min(scale, figure.width / least_width);
  figure.width = static_cast<int>(std::lround(figure.width / scale));
  const double height_before = figure.height / scale;
  figure.height *= 10;  // high enough for all texts, to see what they take
  FigureLayout high = lay_out(figure, theme);
  const auto narrow = [](const PanelLayout& panel) { return panel.plot.width < least_axes; };
  while (figure.columns > 1 && std::ranges::any_of(high.panels, narrow)) {
    --figure.columns;
    figure.column_weights.clear(), figure.row_weights.clear();
    high = lay_out(figure, theme);
  }
  double height = figure.height;
  figure.row_weights.clear();
  for (int row = 0; row < rows(); ++row) {
    const auto first = static_cast<size_t>(row * figure.columns);
    const PanelLayout& panel = high.panels[first];
    figure.row_weights.push_back(before.panels[first].plot.height / scale + panel.cell.height -
                                 panel.plot.height);
    height += figure.row_weights.back() - panel.cell.height;
  }
  const auto least = static_cast<int>(std::lround(height_before * rows() / rows_before));
  figure.height = std::max(least, static_cast<int>(std::ceil(height)));
  return figure;
}

}  // namespace kvviz::plot
