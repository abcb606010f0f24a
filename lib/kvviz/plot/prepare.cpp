// SPDX-License-Identifier: MIT
#include "kvviz/plot/prepare.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvviz::plot {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 deduces no aggregate's arguments

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// The finite values seen so far.
struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value), high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

struct Extents {
  Extent x, y;
  bool tight_x = false, tight_y = false, from_zero = false;
};

void add(Extents& e, const Panel& panel, const Mark& mark) {
  const auto x_at = [&](double value) { e.x.add(on_axis(value, panel.x.scale)); };
  const auto y_at = [&](double value) { e.y.add(on_axis(value, panel.y.scale)); };
  std::visit(Overloaded{[&](const Lines& lines) {
                          for (const Series& series : lines.series) {
                            for (const double x : series.x) x_at(x);
                            for (size_t i = 0; i < series.y.size(); ++i) {
                              const ErrorBar error = error_bar(series, i);
                              y_at(series.y[i]), y_at(series.y[i] - error.below),
                                  y_at(series.y[i] + error.above);
                            }
                            e.from_zero |= series.stroke == Stroke::impulses;
                          }
                        },
                        [&](const Bars& bars) {
                          std::vector<double> sums;
                          for (const Bars::Group& group : bars.groups)
                            for (size_t i = 0; i < group.values.size(); ++i) {
                              const ErrorBar error = error_bar(group, i);
                              sums.resize(std::max(sums.size(), i + 1), 0);
                              if (bars.stacked)
                                sums[i] += std::isfinite(group.values[i]) ? group.values[i] : 0;
                              y_at(bars.stacked ? sums[i] : group.values[i] - error.below),
                                  y_at(group.values[i] + error.above);
                              e.x.add(static_cast<double>(i) - 0.5), e.x.add(static_cast<double>(i) + 0.5);
                            }
                          e.from_zero = e.tight_x = true;
                        },
                        [&](const Histogram& histogram) {
                          for (const double edge : histogram.edges) x_at(edge);
                          for (const Histogram::Group& group : histogram.groups)
                            for (const double count : group.counts) y_at(count);
                          e.from_zero = e.tight_x = true;
                        },
                        [&](const Band& band) {
                          for (const double x : band.x) x_at(x);
                          for (const double y : band.low) y_at(y);
                          for (const double y : band.high) y_at(y);
                        },
                        [&](const Heatmap& map) {
                          e.x.add(map.x0 - map.dx / 2), e.x.add(map.x0 + (map.cols - 0.5) * map.dx);
                          e.y.add(map.y0 - map.dy / 2), e.y.add(map.y0 + (map.rows - 0.5) * map.dy);
                          e.tight_x = e.tight_y = true;
                        },
                        [&](const Reference& line) {
                          line.direction == Reference::Direction::horizontal ? y_at(line.at) : x_at(line.at);
                        },
                        [](const Note&) {}},
             mark);
}

/// Cells that share one drawn cell.
struct Pool {
  int rows = 1, cols = 1;
};

/// Visits every finite value of `map` with the index of its cell in the pooled one.
template <class Visit>
void for_each_cell(const Heatmap& map, const Heatmap& out, const Pool& pool, Visit&& visit) {
  for (int r = 0; r < map.rows; ++r)
    for (int c = 0; c < map.cols; ++c) {
      const double value =
          map.z[static_cast<size_t>(r) * static_cast<size_t>(map.cols) + static_cast<size_t>(c)];
      if (std::isfinite(value))
        visit(value, static_cast<size_t>(r / pool.rows) * static_cast<size_t>(out.cols) +
                         static_cast<size_t>(c / pool.cols));
    }
}

void most_frequent(const Heatmap& map, Heatmap& out, const Pool& pool) {
  const size_t kinds = map.categories.size();
  std::vector<int> counts(out.z.size() * kinds, 0);
  for_each_cell(map, out, pool, [&](double value, size_t block) {
    if (value >= 0 && value < static_cast<double>(kinds))
      ++counts[block * kinds + static_cast<size_t>(value)];
  });
  for (size_t i = 0; i < out.z.size(); ++i) {
    const auto first = counts.begin() + static_cast<std::ptrdiff_t>(i * kinds);
    const auto most = std::max_element(first, first + static_cast<std::ptrdiff_t>(kinds));
    out.z[i] = *most > 0 ? static_cast<double>(most - first) : kNan;
  }
}

/// Scripts hold 8 digits (number()): a narrower range is a single value there.
bool is_range(const Range& range) {
  return range.high - range.low > std::max(1e-12, 1e-6 * std::max(std::abs(range.low), std::abs(range.high)));
}

enum class Spread { tight, half_step, margin };

Range finished(const Axis& axis, const Extent& extent, Spread spread, bool from_zero) {
  const bool log = axis.scale == Scale::log10;
  Range range = extent.empty() ? Range{0, 1} : Range{extent.low, extent.high};
  if (from_zero && !log) range = {std::min(range.low, 0.0), std::max(range.high, 0.0)};
  if (from_zero && log) range.low -= 0.3;  // the smallest bar keeps a visible height
  if (spread != Spread::tight && !extent.empty()) {
    constexpr double clear_of_axis = 0.006;  // so that the first of many bars is not on the axis
    const double length = range.high - range.low,
                 margin = spread == Spread::half_step ? std::max(0.5, clear_of_axis * length) : 0.05 * length;
    if (!(from_zero && !log && range.low == 0)) range.low -= margin;
    if (!(from_zero && !log && range.high == 0)) range.high += margin;
  }
  const double low = axis.min ? on_axis(*axis.min, axis.scale) : kNan,
               high = axis.max ? on_axis(*axis.max, axis.scale) : kNan;
  if (std::isfinite(low)) range.low = low;
  if (std::isfinite(high)) range.high = high;
  if (is_range(range)) return range;
  const double half = log || range.low == 0 ? 0.5 : 0.5 * std::abs(range.low);  // a single value
  if (std::isfinite(low) || (from_zero && range.low == 0)) return {range.low, range.low + 2 * half};
  if (std::isfinite(high) || (from_zero && range.high == 0)) return {range.high - 2 * half, range.high};
  return {range.low - half, range.low + half};
}

}  // namespace

namespace {

template <class Values>
ErrorBar error_of(const Values& values, size_t i) {
  const auto length = [&](const std::vector<double>& lengths) {
    return i < lengths.size() && std::isfinite(lengths[i]) ? lengths[i] : 0.0;
  };
  return {length(values.errors), length(values.errors_above.empty() ? values.errors : values.errors_above)};
}

}  // namespace

ErrorBar error_bar(const Bars::Group& group, size_t i) {
  return error_of(group, i);
}

ErrorBar error_bar(const Series& series, size_t i) {
  return error_of(series, i);
}

bool has_surface(const Panel& panel) {
  return std::any_of(panel.marks.begin(), panel.marks.end(), [](const Mark& mark) {
    const auto* map = std::get_if<Heatmap>(&mark);
    return map != nullptr && map->surface;
  });
}

double on_axis(double value, Scale scale) {
  if (!std::isfinite(value)) return kNan;
  if (scale == Scale::linear) return value;
  return value > 0 ? std::log10(value) : kNan;
}

PanelRanges ranges(const Panel& panel) {
  Extents e;
  for (const Mark& mark : panel.marks) add(e, panel, mark);
  const bool steps = panel.x.whole && panel.x.scale == Scale::linear;
  const Spread x = e.tight_x ? Spread::tight : steps ? Spread::half_step : Spread::margin;
  return {finished(panel.x, e.x, x, false),
          finished(panel.y, e.y, e.tight_y ? Spread::tight : Spread::margin, e.from_zero && !e.tight_y)};
}

Range z_range(const Heatmap& map) {
  if (!map.categories.empty()) return {-0.5, static_cast<double>(map.categories.size()) - 0.5};
  Extent extent;
  for (const double z : map.z) extent.add(on_axis(z, map.z_scale));
  Range range = extent.empty() ? Range{0, 1} : Range{extent.low, extent.high};
  if (map.z_min) range.low = on_axis(*map.z_min, map.z_scale);
  if (map.z_max) range.high = on_axis(*map.z_max, map.z_scale);
  if (map.map == ColourMap::diverging && map.z_scale == Scale::linear) {
    const double size = std::max(std::abs(range.low), std::abs(range.high));
    range = {-size, size};
  }
  if (!is_range(range)) {
    const double half = std::max(0.5 * std::abs(range.low), 1e-6);
    range = range.low == 0 ? Range{0, 1} : Range{range.low - half, range.low + half};
  }
  return range;
}

Heatmap pooled(const Heatmap& map, int row_block, int col_block) {
  Heatmap out = map;
  out.rows = (map.rows + row_block - 1) / row_block;
  out.cols = (map.cols + col_block - 1) / col_block;
  out.x0 = map.x0 + map.dx * (col_block - 1) / 2, out.dx = map.dx * col_block;
  out.y0 = map.y0 + map.dy * (row_block - 1) / 2, out.dy = map.dy * row_block;
  out.z.assign(static_cast<size_t>(out.rows) * static_cast<size_t>(out.cols), 0);
  if (!map.categories.empty()) {
    most_frequent(map, out, {row_block, col_block});
    return out;
  }
  std::vector<int> counts(out.z.size(), 0);
  for_each_cell(map, out, {row_block, col_block},
                [&](double value, size_t block) { out.z[block] += value, ++counts[block]; });
  for (size_t i = 0; i < out.z.size(); ++i) out.z[i] = counts[i] > 0 ? out.z[i] / counts[i] : kNan;
  return out;
}

Panel coloured(Panel panel, const Theme& theme) {
  size_t next = 0;
  const auto give = [&](std::optional<Colour>& colour) {
    if (!colour) colour = theme.categorical[next++ % theme.categorical.size()];
  };
  for (Mark& mark : panel.marks)
    std::visit(Overloaded{[&](Lines& lines) {
                            for (Series& series : lines.series) give(series.colour);
                          },
                          [&](Bars& bars) {
                            for (Bars::Group& group : bars.groups) give(group.colour);
                          },
                          [&](Histogram& histogram) {
                            for (Histogram::Group& group : histogram.groups) give(group.colour);
                          },
                          [&](Band& band) { give(band.colour); },
                          [&](Reference& line) {
                            if (!line.colour) line.colour = colours::neutral;
                          },
                          [](Heatmap&) {}, [](Note&) {}},
               mark);
  return panel;
}

int64_t bars_per_pixel(const Series& series, double pixels) {
  const auto points = static_cast<double>(std::min(series.x.size(), series.y.size()));
  const double buckets = std::floor(std::max(1.0, pixels));
  return series.stroke == Stroke::impulses ? static_cast<int64_t>(std::ceil(points / buckets)) : 1;
}

Series thinned(const Series& series, double pixels) {
  const size_t points = std::min(series.x.size(), series.y.size());
  const auto buckets = static_cast<size_t>(std::max(1.0, pixels));
  const bool bars = series.stroke == Stroke::impulses;
  if (series.stroke == Stroke::points || points <= (bars ? 1 : 4) * buckets ||
      !std::is_sorted(series.x.begin(), series.x.end()))
    return series;
  Series out = series;
  for (auto* values : {&out.x, &out.y, &out.errors, &out.errors_above}) values->clear();
  const auto keep = [&](size_t i) { out.x.push_back(series.x[i]), out.y.push_back(series.y[i]); };
  for (size_t b = 0; b < buckets; ++b) {
    const size_t begin = b * points / buckets, end = (b + 1) * points / buckets;
    size_t low = begin, high = begin, gap = end;
    for (size_t i = begin; i < end; ++i) {
      if (!std::isfinite(series.y[i])) gap = i;
      if (!(series.y[low] <= series.y[i])) low = i;
      if (!(series.y[high] >= series.y[i])) high = i;
    }
    if (gap != end) {
      keep(gap);
    } else if (bars || low == high) {
      keep(std::abs(series.y[low]) > std::abs(series.y[high]) ? low : high);
    } else {
      keep(std::min(low, high)), keep(std::max(low, high));
    }
  }
  return out;
}

namespace {

bool lacking(const std::vector<double>& values, Scale scale) {
  return std::any_of(values.begin(), values.end(),
                     [&](double value) { return !std::isfinite(on_axis(value, scale)); });
}

/// The entries for grey cells and for points without a value, each at most once.
void add_nothing(std::vector<LegendEntry>& entries, const Panel& panel) {
  bool points = false;
  std::string cells;
  for (const Mark& mark : panel.marks) {
    if (const auto* lines = std::get_if<Lines>(&mark))
      for (const Series& series : lines->series) points |= lacking(series.y, panel.y.scale);
    if (const auto* bars = std::get_if<Bars>(&mark))
      for (const Bars::Group& group : bars->groups) points |= lacking(group.values, Scale::linear);
    if (const auto* map = std::get_if<Heatmap>(&mark))
      if (lacking(map->z, Scale::linear)) cells = map->nothing_label;
  }
  if (points) entries.push_back({"no value", Swatch::missing, colours::missing});
  if (!cells.empty()) entries.push_back(cell_entry(cells, colours::nothing));
}

}  // namespace

LegendEntry cell_entry(const std::string& label, Colour colour) {
  return {label, Swatch::box, colour, Marker::none, 1, colours::neutral};
}

Marker drawn_marker(const Series& series) {
  constexpr size_t few = 48;
  switch (series.stroke) {
    case Stroke::points:
      return series.marker == Marker::none ? Marker::disc : series.marker;
    case Stroke::impulses:
      return Marker::none;
    case Stroke::dashed:
      return series.marker == Marker::disc ? Marker::none : series.marker;
    case Stroke::line:
      break;
  }
  return series.x.size() <= few ? series.marker : Marker::none;
}

std::vector<LegendEntry> legend(const Panel& panel) {
  std::vector<LegendEntry> entries;
  const auto add_entry = [&](LegendEntry entry) {
    if (!entry.label.empty()) entries.push_back(std::move(entry));
  };
  const auto add_box = [&](const std::string& label, const std::optional<Colour>& colour, double opacity,
                           bool outlined) {
    const Colour paint = colour.value_or(colours::neutral);
    add_entry({label, Swatch::box, paint, Marker::none, opacity,
               outlined ? std::optional<Colour>(paint) : std::nullopt});
  };
  for (const Mark& mark : panel.marks)
    std::visit(Overloaded{[&](const Lines& lines) {
                            for (const Series& s : lines.series)
                              add_entry({s.label,
                                         s.stroke == Stroke::dashed   ? Swatch::dashed
                                         : s.stroke == Stroke::points ? Swatch::points
                                                                      : Swatch::line,
                                         s.colour.value_or(colours::neutral), drawn_marker(s)});
                          },
                          [&](const Bars& bars) {
                            for (const Bars::Group& g : bars.groups)
                              add_box(g.label, g.colour, kBarOpacity, false);
                          },
                          [&](const Histogram& h) {
                            for (const Histogram::Group& g : h.groups)
                              add_box(g.label, g.colour, kHistogramOpacity, true);
                          },
                          [&](const Band& band) { add_box(band.label, band.colour, kBandOpacity, false); },
                          [&](const Reference& line) {
                            add_entry({line.label, Swatch::dashed, line.colour.value_or(colours::neutral)});
                          },
                          [&](const Heatmap& map) {
                            for (const Category& c : map.categories) add_entry(cell_entry(c.label, c.colour));
                          },
                          [](const Note&) {}},
               mark);
  add_nothing(entries, panel);
  return entries;
}

}  // namespace kvviz::plot
