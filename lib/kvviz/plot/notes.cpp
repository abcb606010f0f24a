// SPDX-License-Identifier: MIT
#include "kvviz/plot/notes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/text.hpp"

namespace kvviz::plot {
namespace {

constexpr double kAway = 10;                            // from the point to its note
constexpr double kLift = 2;                             // of a note beside a point over a bar's top
constexpr std::ptrdiff_t kMostCovered = 3;              // a note that would lie over more lines is left out
constexpr double kMarker = 4, kRing = 8, kWhisker = 3;  // half their widths
constexpr double kWidest = 260;                         // longer notes are shortened

struct Point {
  double x = 0, y = 0;
};
struct Segment {
  Point from, to;
};

/// Design pixels, like everything here.
struct Area {
  double left = 0, bottom = 0, right = 0, top = 0;
  bool overlaps(const Area& other) const {
    return left < other.right && other.left < right && bottom < other.top && other.bottom < top;
  }
};

/// The part of the segment inside the area is not empty (Liang-Barsky).
bool crosses(const Segment& s, const Area& area) {
  double begin = 0, end = 1;
  const double dx = s.to.x - s.from.x, dy = s.to.y - s.from.y;
  for (const auto& [step, room] :
       {std::array{-dx, s.from.x - area.left}, std::array{dx, area.right - s.from.x},
        std::array{-dy, s.from.y - area.bottom}, std::array{dy, area.top - s.from.y}}) {
    if (step == 0 && room < 0) return false;
    if (step < 0) begin = std::max(begin, room / step);
    if (step > 0) end = std::min(end, room / step);
  }
  return begin <= end;
}

class Placer {
 public:
  Placer(const PanelLayout& panel, const Theme& theme) : panel_(panel), size_(theme.note_size) {
    for (const Mark& mark : panel.panel.marks) {
      if (const auto* lines = std::get_if<Lines>(&mark))
        for (const Series& series : lines->series) add(thinned(series, panel.plot.width));
      if (const auto* bars = std::get_if<Bars>(&mark)) add(*bars);
    }
    for (const TextLine& label : panel.texts)
      if (label.align == Align::left && !label.upright)
        taken_.push_back({label.x, label.y - label.size / 2,
                          label.x + text_width(label.text, label.size) * (label.bold ? kBoldWidth : 1),
                          label.y + label.size / 2});
  }

  std::optional<TextLine> place(const Note& note) {
    const std::optional<Point> at = point(note.x, note.y);
    if (!at || !inside({at->x, at->y, at->x, at->y})) return {};
    const std::string text = shortened(one_line(note.text), kWidest, size_);
    const double width = text_width(text, size_) * (note.strong ? kBoldWidth : 1), height = 1.2 * size_;
    std::vector<Area> candidates;
    for (const double away : {kAway, 2.5 * kAway, 4 * kAway}) {
      if (away > kAway && !note.strong) break;  // far notes must stand out to be told whose they are
      const Area around[] = {{at->x + away, at->y - height / 2, at->x + away + width, at->y + height / 2},
                             {at->x - away - width, at->y - height / 2, at->x - away, at->y + height / 2},
                             {at->x - width / 2, at->y + away, at->x + width / 2, at->y + away + height},
                             {at->x + away, at->y + kLift, at->x + away + width, at->y + kLift + height},
                             {at->x + away, at->y - height, at->x + away + width, at->y},
                             {at->x - width / 2, at->y - away - height, at->x + width / 2, at->y - away},
                             {at->x - width, at->y - away - height, at->x, at->y - away},
                             {at->x, at->y - away - height, at->x + width, at->y - away}};
      candidates.insert(candidates.end(), std::begin(around), std::end(around) - (note.strong ? 0 : 2));
    }
    const Area* best = nullptr;
    std::ptrdiff_t least = 0;
    for (const Area& area : candidates) {
      if (!inside(area) ||
          std::any_of(taken_.begin(), taken_.end(), [&](const Area& other) { return area.overlaps(other); }))
        continue;
      const auto covered =
          std::count_if(drawn_.begin(), drawn_.end(), [&](const Segment& s) { return crosses(s, area); });
      if (best == nullptr || covered < least) best = &area, least = covered;
    }
    if (best == nullptr || (least > kMostCovered && !note.strong)) return {};
    taken_.push_back(*best);
    TextLine line{text, best->left, (best->bottom + best->top) / 2, size_, Align::left};
    line.bold = line.opaque = note.strong;
    return line;
  }

 private:
  std::optional<Point> point(double x, double y) const {
    const double at_x = on_axis(x, panel_.panel.x.scale), at_y = on_axis(y, panel_.panel.y.scale);
    if (!std::isfinite(at_x) || !std::isfinite(at_y)) return {};
    const Range &rx = panel_.range.x, &ry = panel_.range.y;
    return Point{panel_.plot.x + (at_x - rx.low) / (rx.high - rx.low) * panel_.plot.width,
                 panel_.plot.y + (at_y - ry.low) / (ry.high - ry.low) * panel_.plot.height};
  }
  bool inside(const Area& area) const {
    const Box& plot = panel_.plot;
    return area.left >= plot.x && area.right <= plot.x + plot.width && area.bottom >= plot.y &&
           area.top <= plot.y + plot.height + 4;
  }
  void add(const Series& series) {
    std::optional<Point> before;
    const double marker = series.marker == Marker::ring ? kRing : kMarker;
    for (size_t i = 0; i < std::min(series.x.size(), series.y.size()); ++i) {
      const std::optional<Point> now = point(series.x[i], series.y[i]);
      if (now && series.stroke == Stroke::impulses) drawn_.push_back({{now->x, panel_.plot.y}, *now});
      if (now && drawn_marker(series) != Marker::none)
        taken_.push_back({now->x - marker, now->y - marker, now->x + marker, now->y + marker});
      if (now) add_whisker(series.x[i], series.y[i], error_bar(series, i));
      if (now && before && (series.stroke == Stroke::line || series.stroke == Stroke::dashed))
        drawn_.push_back({*before, *now});
      before = now;
    }
  }
  void add(const Bars& bars) {
    const double width = 0.8 / static_cast<double>(std::max<size_t>(1, bars.groups.size()));
    for (size_t g = 0; g < bars.groups.size(); ++g)
      for (size_t i = 0; i < bars.groups[g].values.size(); ++i) {
        const double value = bars.groups[g].values[i],
                     left = static_cast<double>(i) - 0.4 + width * static_cast<double>(g);
        const auto from = point(left, value), to = point(left + width, value);
        if (!from || !to) continue;
        for (const Point& top : {*from, *to}) drawn_.push_back({{top.x, panel_.plot.y}, top});
        taken_.push_back({from->x, from->y - 1, to->x, to->y + 1});
        add_whisker(left + width / 2, value, error_bar(bars.groups[g], i));
      }
  }
  void add_whisker(double x, double y, const ErrorBar& error) {
    if (error.below + error.above <= 0) return;
    const auto top = point(x, y + error.above);
    if (!top) return;
    const double bottom = point(x, y - error.below).value_or(Point{top->x, panel_.plot.y}).y;
    taken_.push_back({top->x - kWhisker, bottom, top->x + kWhisker, top->y + 1});
  }

  const PanelLayout& panel_;
  double size_;
  std::vector<Segment> drawn_;
  std::vector<Area> taken_;
};

}  // namespace

std::vector<TextLine> place_notes(const PanelLayout& panel, const Theme& theme) {
  std::vector<TextLine> out;
  const bool any = std::any_of(panel.panel.marks.begin(), panel.panel.marks.end(),
                               [](const Mark& mark) { return std::holds_alternative<Note>(mark); });
  if (!any) return out;
  for (const Mark& mark : panel.panel.marks)
    require(!std::holds_alternative<Heatmap>(mark), "panel \"", panel.panel.title,
            "\" has a note and a heat map");
  Placer placer(panel, theme);
  for (const Mark& mark : panel.panel.marks)
    if (const auto* note = std::get_if<Note>(&mark))
      if (std::optional<TextLine> line = placer.place(*note)) out.push_back(std::move(*line));
  return out;
}

}  // namespace kvviz::plot
