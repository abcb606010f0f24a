// SPDX-License-Identifier: MIT
#include "kvviz/plot/layout.hpp"

#include <doctest/doctest.h>

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
