// SPDX-License-Identifier: MIT
#include "kvviz/plot/layout.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/notes.hpp"
#include "kvviz/plot/text.hpp"

using namespace kvviz::plot;

namespace {

Panel heat_panel(int rows, int cols) {
  Panel panel;
  panel.title = "cells";
  panel.x = {.label = "column", .whole = true};
  panel.y = {.label = "row", .whole = true};
  panel.marks.emplace_back(
      Heatmap{.z = std::vector<double>(static_cast<size_t>(rows) * static_cast<size_t>(cols), 1.0),
              .rows = rows,
              .cols = cols,
              .z_label = "share"});
  return panel;
}

}  // namespace

TEST_CASE("[layout] panels of a column and of a row have their axes in line") {
  Figure figure;
  figure.columns = 2;
  figure.title = "title";
  figure.panels = {heat_panel(4, 4), heat_panel(126, 4), heat_panel(4, 512), heat_panel(1, 1)};
  figure.panels[1].note = "a note that takes a line";
  const FigureLayout layout = lay_out(figure, {});
  REQUIRE(layout.panels.size() == 4);
  CHECK(layout.panels[0].plot.x == layout.panels[2].plot.x);
  CHECK(layout.panels[0].plot.width == layout.panels[2].plot.width);
  CHECK(layout.panels[0].plot.y == layout.panels[1].plot.y);
  CHECK(layout.panels[0].plot.height == layout.panels[1].plot.height);
}

TEST_CASE("[layout] an axis says where a bar stands for several") {
  Series bars{"", {}, {}};
  bars.stroke = Stroke::impulses;
  for (int i = 0; i < 20000; ++i) bars.x.push_back(i), bars.y.push_back(1);
  const auto label_of = [](const Series& series) {
    Figure figure;
    figure.panels.resize(1);
    figure.panels[0].x.label = "token";
    figure.panels[0].marks.emplace_back(Lines{{series}});
    return lay_out(figure, {}).panels[0].panel.x.label;
  };
  const std::string label = label_of(bars);
  CHECK(label.starts_with("token (longest of 1"));  // 20,000 bars in some 1,400 pixels
  CHECK(label.ends_with(" per bar)"));
  bars.x.resize(500), bars.y.resize(500);
  CHECK(label_of(bars) == "token");
}

TEST_CASE("[layout] a large heat map is pooled and its axis says so") {
  Figure figure;
  figure.panels = {heat_panel(126, 32768)};
  const PanelLayout panel = lay_out(figure, {}).panels[0];
  const auto& map = std::get<Heatmap>(panel.panel.marks[0]);
  CHECK(map.cols <= 1024);
  CHECK(map.cols > 512);
  CHECK(map.rows == 126);
  CHECK(panel.panel.x.label == "column (mean of 32 per column)");
  CHECK(panel.panel.y.label == "row");
  CHECK(panel.range.x.high >= 32767.5);
  figure.panels = {heat_panel(80, 512)};
  CHECK(lay_out(figure, {}).panels[0].panel.x.label == "column");
}

TEST_CASE("[layout] long titles wrap inside the figure") {
  Figure figure;
  figure.width = 400, figure.height = 400;
  figure.title = "a title that is far too long for a figure of four hundred pixels and has to wrap";
  figure.panels = {heat_panel(2, 2)};
  const FigureLayout layout = lay_out(figure, {});
  CHECK(layout.texts.size() > 1);
  for (const TextLine& line : layout.texts) CHECK(text_width(line.text, line.size) * kBoldWidth <= 400);
  CHECK(layout.panels[0].plot.height > 100);
  figure.width = 100;
  CHECK_THROWS_AS(lay_out(figure, {}), kvviz::DataError);
}

TEST_CASE("[layout] a larger text scale leaves each row of axes its height") {
  Figure figure;
  figure.title = "a title that wraps where the letters are large beside the figure, as all the texts do then";
  figure.caption = figure.title;
  figure.panels = {heat_panel(4, 4), heat_panel(8, 8)};
  figure.row_weights = {1, 3};
  const FigureLayout before = lay_out(figure, {});
  for (const double scale : {0.5, 1.0, 1.4, 3.0}) {
    CAPTURE(scale);
    const Figure scaled = with_text_scale(figure, {}, scale);
    CHECK(scaled.width == std::lround(figure.width / scale));
    CHECK(scaled.height >= std::lround(figure.height / scale));
    const FigureLayout after = lay_out(scaled, {});
    for (const size_t row : {0u, 1u})
      CHECK(scale * after.panels[row].plot.height > 0.98 * before.panels[row].plot.height);
  }
}

TEST_CASE("[layout] a larger text scale puts panels into fewer columns before they are too narrow") {
  Figure figure;
  figure.columns = 4;
  figure.panels.assign(8, heat_panel(4, 4));
  figure.row_weights = {1, 2};
  const Figure scaled = with_text_scale(figure, {}, 2.5);
  CHECK(scaled.columns == 2);
  CHECK(scaled.panels.size() == 8);
  CHECK(scaled.row_weights.size() == 4);
  CHECK(scaled.row_weights[3] > scaled.row_weights[0]);
  for (const PanelLayout& panel : lay_out(scaled, {}).panels) CHECK(panel.plot.width > 100);
  figure.width = 500, figure.columns = 1;
  CHECK(with_text_scale(figure, {}, 4).width >= 230);
}

TEST_CASE("[layout] a colour bar says where values lie beyond its ends") {
  Figure figure;
  figure.panels = {heat_panel(2, 2)};
  auto& map = std::get<Heatmap>(figure.panels[0].marks[0]);
  const auto ends = [&] {
    const TickRow row = lay_out(figure, {}).panels[0].z_ticks;
    return row.ticks.front().label + " .. " + row.ticks.back().label;
  };
  map.z = {-1, 0.5, 2, 1}, map.z_min = 0, map.z_max = 1;
  CHECK(ends() == "≤ 0 .. ≥ 1");
  map.z = {0, 0.5, 1, 1};
  CHECK(ends() == "0 .. 1");
  map.z_scale = Scale::log10, map.z_min = 1e-4;
  CHECK(ends() == "≤ 10⁻⁴ .. 1");  // 0 has the colour of the lowest
}

TEST_CASE("[layout] the lines of a panel's title begin below each other, upright labels end below them") {
  Figure figure;
  figure.panels = {heat_panel(2, 2)};
  figure.width = 300, figure.height = 260;
  Panel& panel = figure.panels[0];
  panel.title = std::string(40, 'w') + " short";  // the first word fills a line
  panel.y.label = "a label of the rows that is longer than the axis";
  const PanelLayout layout = lay_out(figure, {}).panels[0];
  std::vector<TextLine> title;
  const TextLine* label = nullptr;
  for (const TextLine& line : layout.texts) {
    if (line.bold) title.push_back(line);
    if (line.upright && line.text.starts_with("a label")) label = &line;
  }
  REQUIRE(title.size() > 1);
  for (const TextLine& line : title) CHECK(line.x == title[0].x);
  REQUIRE(label != nullptr);
  CHECK(title[0].x < label->x + 0.65 * label->size);  // over the label
  CHECK(label->y + text_width(label->text, label->size) / 2 <= title.back().y - title.back().size / 2);
}

TEST_CASE("[layout] leaders are grey lines from a last point to its label") {
  Figure figure;
  figure.panels.resize(1);
  figure.panels[0].marks.emplace_back(Lines{{{.label = "", .x = {0, 1}, .y = {0, 1}, .end_label = "end"}}});
  CHECK(lay_out(figure, {}).panels[0].leaders.size() == 1);
}

TEST_CASE("[notes] a panel with a heat map has none: its y axis points down") {
  Figure figure;
  figure.panels = {heat_panel(2, 2)};
  figure.panels[0].marks.emplace_back(Note{0, 0, "note"});
  const PanelLayout layout = lay_out(figure, {}).panels[0];
  CHECK_THROWS_WITH_AS(place_notes(layout, {}), doctest::Contains("note and a heat map"), kvviz::DataError);
}

TEST_CASE("[notes] keep off bars and error bars") {
  Figure figure;
  figure.panels.resize(1);
  Panel& panel = figure.panels[0];
  panel.y = {.label = "y", .min = 0, .max = 2};
  panel.marks.emplace_back(Bars{{{"", {1, 1}, {0.2, 0}}}});
  for (const double x : {0.0, 1.0}) panel.marks.emplace_back(Note{x, 1, "1.00"});
  const PanelLayout layout = lay_out(figure, {}).panels[0];
  const std::vector<TextLine> notes = place_notes(layout, {});
  REQUIRE(notes.size() == 2);
  const double top = layout.plot.y + layout.plot.height / 2;  // of the bars
  for (const TextLine& note : notes) CHECK(note.y > top);
  const double middle = layout.plot.x + layout.plot.width / 4;  // of the first, and its error bar
  CHECK(notes[0].x > middle);
}

TEST_CASE("[notes] never overlap, stay inside, and leave a crowd alone") {
  Figure figure;
  Panel panel;
  Lines lines{{{"", {}, {}, {}, Stroke::points}}};
  for (int i = 0; i < 40; ++i) {
    lines.series[0].x.push_back(i), lines.series[0].y.push_back(0.1 * (i % 3));
    panel.marks.emplace_back(Note{static_cast<double>(i), 0.1 * (i % 3), "note number " + std::to_string(i)});
  }
  panel.marks.emplace_back(Note{1000, 0, "outside"});
  panel.marks.insert(panel.marks.begin(), lines);
  figure.panels = {panel};
  const PanelLayout layout = lay_out(figure, {}).panels[0];
  const std::vector<TextLine> notes = place_notes(layout, {});
  CHECK(notes.size() > 3);
  CHECK(notes.size() < 41);
  for (size_t i = 0; i < notes.size(); ++i) {
    CHECK(notes[i].x >= layout.plot.x);
    CHECK(notes[i].x + text_width(notes[i].text, notes[i].size) <= layout.plot.x + layout.plot.width);
    for (size_t k = 0; k < i; ++k) {
      const bool apart = notes[i].x + text_width(notes[i].text, notes[i].size) <= notes[k].x ||
                         notes[k].x + text_width(notes[k].text, notes[k].size) <= notes[i].x ||
                         std::abs(notes[i].y - notes[k].y) >= notes[i].size;
      CHECK(apart);
    }
  }
}

TEST_CASE("[notes] lie over no marker, whisker or top of a bar") {
  struct Area {
    double left, bottom, right, top;
  };
  const auto note_beside = [](Mark mark) {
    Panel panel;
    panel.x.min = 0, panel.x.max = 10, panel.y.min = 0, panel.y.max = 10;
    panel.marks = {std::move(mark), Note{5, 5, "a strong note", true}};
    Figure figure;
    figure.panels = {panel};
    const PanelLayout layout = lay_out(figure, {}).panels[0];
    const std::vector<TextLine> notes = place_notes(layout, {});
    REQUIRE(notes.size() == 1);
    const double width = layout.plot.width / 10, height = layout.plot.height / 10;  // pixels of a unit
    const double left = (notes[0].x - layout.plot.x) / width, middle = (notes[0].y - layout.plot.y) / height,
                 half = notes[0].size / 2 / height;
    return Area{left, middle - half, left + text_width(notes[0].text, notes[0].size) * kBoldWidth / width,
                middle + half};
  };
  const auto covers = [](const Area& area, double x, double low, double high) {
    return area.left < x && x < area.right && area.bottom < high && low < area.top;
  };
  const Area free = note_beside(Lines{{{"", {9}, {9}}}});
  REQUIRE(free.left > 5);  // its first place is at the right
  CHECK_FALSE(covers(note_beside(Lines{{{"", {5.5}, {5}}}}), 5.5, 5, 5));
  Series whisker{"", {5.5}, {2}};
  whisker.errors = {1}, whisker.errors_above = {4};
  CHECK_FALSE(covers(note_beside(Lines{{whisker}}), 5.5, 1, 6));
  Bars bars{{{"", {1, 1, 1, 1, 1, 1, 5}}}};
  CHECK_FALSE(covers(note_beside(bars), 5.8, 5, 5));
  bars.groups[0].values[6] = 2, bars.groups[0].errors = {0, 0, 0, 0, 0, 0, 4};
  CHECK_FALSE(covers(note_beside(bars), 6, 2, 6));
}
