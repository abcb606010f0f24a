// SPDX-License-Identifier: MIT
#include "kvviz/plot/end_labels.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/plot/text.hpp"

namespace kvviz::plot {
namespace {

constexpr double kLeader = 26;     // from a column's rightmost last point to its labels
constexpr double kPointGap = 7;    // between a point and its leader
constexpr double kTextGap = 4;     // between a leader and its label
constexpr double kColumnGap = 14;  // between two columns
constexpr double kSpacing = 1.25;  // of labels, in font sizes
constexpr double kWidest = 230;    // longer labels are shortened

struct Label {
  std::string text;
  double x = 0, y = 0;  // the last point
  double width = 0;
  Colour colour;
  bool bold = false;
  double at = 0;  // where the label is put
};

struct Column {
  double x = 0, width = 0;
  std::vector<Label> labels;
};

template <class Visit>
void for_each_labelled(const Panel& panel, Visit&& visit) {
  for (const Mark& mark : panel.marks)
    if (const auto* lines = std::get_if<Lines>(&mark))
      for (const Series& series : lines->series)
        if (!series.end_label.empty()) visit(series);
}

Label label_of(const Series& series, const Theme& theme) {
  const double bold = series.strong ? kBoldWidth : 1;
  Label label{.text = shortened(one_line(series.end_label), kWidest / bold, theme.note_size),
              .colour = series.colour.value_or(colours::text),
              .bold = series.strong};
  label.width = text_width(label.text, theme.note_size) * bold;
  return label;
}

std::vector<Label> labels_of(const PanelLayout& p, const Theme& theme) {
  std::vector<Label> labels;
  for_each_labelled(p.panel, [&](const Series& series) {
    for (size_t i = std::min(series.x.size(), series.y.size()); i-- > 0;) {
      const double x = on_axis(series.x[i], p.panel.x.scale), y = on_axis(series.y[i], p.panel.y.scale);
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      labels.push_back(label_of(series, theme));
      const Range &across = p.range.x, &up = p.range.y;
      labels.back().x = p.plot.x + (x - across.low) / (across.high - across.low) * p.plot.width;
      labels.back().y = p.plot.y + (y - up.low) / (up.high - up.low) * p.plot.height;
      return;
    }
  });
  return labels;
}

/// From the right to the left.
std::vector<Column> columns_of(std::vector<Label> labels) {
  std::ranges::stable_sort(labels, std::ranges::greater{}, &Label::x);
  std::vector<Column> columns;
  for (Label& label : labels) {
    const double own = label.x + kLeader;
    if (columns.empty() || own + label.width + kColumnGap < columns.back().x) columns.push_back({own, 0, {}});
    size_t column = columns.size() - 1;
    while (column > 0 && columns[column].x + label.width + kColumnGap > columns[column - 1].x) --column;
    columns[column].width = std::max(columns[column].width, label.width);
    columns[column].labels.push_back(std::move(label));
  }
  std::erase_if(columns, [](const Column& column) { return column.labels.empty(); });
  return columns;
}

/// Labels, lowest first, at least `spacing` apart: those that are too close form a run around their mean
/// place.
void spread(std::vector<Label>& labels, double spacing, double low, double high) {
  struct Run {
    double sum = 0;  // of the places that its first label would have
    size_t count = 0;
    double first() const { return sum / static_cast<double>(count); }
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < labels.size(); ++i) {
    runs.push_back({labels[i].y, 1});
    while (runs.size() > 1) {
      const Run last = runs.back(), &before = runs[runs.size() - 2];
      const double length = spacing * static_cast<double>(before.count);
      if (last.first() >= before.first() + length) break;
      runs.pop_back();
      runs.back().sum += last.sum - length * static_cast<double>(last.count);
      runs.back().count += last.count;
    }
  }
  size_t next = 0;
  for (const Run& run : runs)
    for (size_t i = 0; i < run.count; ++i) labels[next++].at = run.first() + spacing * static_cast<double>(i);
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i].at = std::max(labels[i].at, low + spacing * static_cast<double>(i));
  for (size_t i = 0; i < labels.size(); ++i) {
    Label& label = labels[labels.size() - 1 - i];
    label.at = std::min(label.at, high - spacing * static_cast<double>(i));
  }
}

}  // namespace

double end_label_room(const Panel& panel, const Theme& theme) {
  double widest = 0;
  for_each_labelled(panel,
                    [&](const Series& series) { widest = std::max(widest, label_of(series, theme).width); });
  return widest > 0 ? kLeader + widest + kTextGap : 0;
}

void place_end_labels(PanelLayout& p, const Theme& theme) {
  const double size = theme.note_size, spacing = kSpacing * size;
  for (Column& column : columns_of(labels_of(p, theme))) {
    const auto room = static_cast<size_t>(std::max(1.0, std::floor(p.plot.height / spacing)));
    if (column.labels.size() > room) column.labels.resize(room);
    std::ranges::stable_sort(column.labels, {}, &Label::y);
    spread(column.labels, spacing, p.plot.y + size / 2, p.plot.y + p.plot.height - size / 2);
    for (const Label& label : column.labels) {
      p.leaders.push_back({label.x + kPointGap, label.y, column.x - kTextGap, label.at});
      p.texts.push_back(
          {label.text, column.x, label.at, size, Align::left, label.bold, false, label.colour, true});
    }
  }
}

}  // namespace kvviz::plot
