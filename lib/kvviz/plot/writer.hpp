// SPDX-License-Identifier: MIT
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/plot/marks.hpp"

namespace kvviz::plot {

/// Writes the marks of one panel.
class Writer {
 public:
  Writer(const PanelLayout& layout, const Theme& theme, std::string name)
      : layout_(layout), theme_(theme), name_(std::move(name)) {}

  PanelScript take() { return std::move(out_); }

  void operator()(const Heatmap& map);
  void operator()(const Band& band);
  void operator()(const Histogram& histogram);
  void operator()(const Bars& bars);
  void operator()(const Lines& lines);
  void operator()(const Reference& line);
  void operator()(const Note&) {}  // placed with the other texts: place_notes()
  /// Crosses for the points without a value; after all marks.
  void missing();

 private:
  template <class... T>
  void add(std::string& to, fmt::format_string<T...> format, T&&... values) {
    fmt::format_to(std::back_inserter(to), format, std::forward<T>(values)...);
  }
  template <class... T>
  void element(fmt::format_string<T...> format, T&&... values) {
    out_.elements.push_back(fmt::format(format, std::forward<T>(values)...));
  }
  /// Opens a data block; its name.
  std::string block() {
    std::string name = fmt::format("${}_{}", name_, blocks_++);
    add(out_.blocks, "{} << EOD\n", name);
    return name;
  }
  void end_block() { out_.blocks += "EOD\n"; }
  /// Where bars start, in axis units: 0, or the end of the axis that is nearest to it.
  double floor() const {
    const Range& range = layout_.range.y;
    return layout_.panel.y.scale == Scale::log10 ? range.low : std::clamp(0.0, range.low, range.high);
  }
  double x(double value) const { return on_axis(value, layout_.panel.x.scale); }
  double y(double value) const { return on_axis(value, layout_.panel.y.scale); }
  /// The data lines of a curve; a blank line breaks it.
  bool curve(const Series& series);
  /// The stepped area under a curve: a step from half-way to the point before to half-way to the next.
  bool area(const Series& series);
  /// Its error bars.
  void whiskers(const Series& series);
  /// A cell's value in z axis units, within the colour limits.
  std::string shown(const Heatmap& map, double value, const Range& z) const;
  void palette(const Heatmap& map);
  void cells(const Heatmap& map, const Range& z);
  void annotate(const Heatmap& map);
  void outline(const Heatmap& map);
  void surface(const Heatmap& map, const Range& z);
  void steps(const std::vector<double>& edges, const Histogram::Group& group);

  const PanelLayout& layout_;
  const Theme& theme_;
  std::string name_;
  PanelScript out_;
  int blocks_ = 0;
  std::vector<double> missing_;  // x of points without a value
};

}  // namespace kvviz::plot
