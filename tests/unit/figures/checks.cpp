// SPDX-License-Identifier: MIT
#include "unit/figures/checks.hpp"

#include <unistd.h>

#include <filesystem>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/plot/layout.hpp"
#include "kvviz/plot/notes.hpp"
#include "kvviz/plot/render.hpp"
#include "kvviz/plot/text.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

namespace kvviz::synthetic {

namespace fs = std::filesystem;
using figures::NamedFigure;

namespace {

struct Rect {
  std::string what;
  double left = 0, bottom = 0, right = 0, top = 0;
};

bool overlap(const Rect& a, const Rect& b) {
  return a.left < b.right && b.left < a.right && a.bottom < b.top && b.bottom < a.top;
}

/// Where a line of text is drawn, without its white space above and below.
Rect rect_of(const plot::TextLine& line) {
  const double width = plot::text_width(line.text, line.size) * (line.bold ? plot::kBoldWidth : 1);
  const double along = line.align == plot::Align::left     ? 0
                       : line.align == plot::Align::centre ? width / 2
                                                           : width;
  const double half = 0.4 * line.size;
  if (line.upright) return {line.text, line.x - half, line.y - along, line.x + half, line.y - along + width};
  return {line.text, line.x - along, line.y - half, line.x - along + width, line.y + half};
}

void add_ticks(std::vector<Rect>& out, const plot::PanelLayout& p, double size) {
  const plot::Box& plot = p.plot;
  for (const plot::Tick& tick : p.x_ticks.ticks) {
    const double x = plot.x + (tick.at - p.range.x.low) / (p.range.x.high - p.range.x.low) * plot.width;
    const double width = plot::text_width(tick.label, size),
                 half = p.x_ticks.rotated ? 0.4 * size : width / 2;
    out.push_back(
        {tick.label, x - half, plot.y - 8 - (p.x_ticks.rotated ? width : size), x + half, plot.y - 8});
  }
  const auto upright = [&](const plot::TickRow& row, const plot::Range& range, bool left, bool downwards) {
    for (const plot::Tick& tick : row.ticks) {
      const double share = (tick.at - range.low) / (range.high - range.low);
      const double y = plot.y + (downwards ? 1 - share : share) * plot.height,
                   width = plot::text_width(tick.label, size);
      const double x = left ? plot.x - 8 - width : p.colour_bar->x + p.colour_bar->width + 8;
      out.push_back({tick.label, x, y - 0.4 * size, x + width, y + 0.4 * size});
    }
  };
  upright(p.y_ticks, p.range.y, true,
          !p.panel.marks.empty() && std::holds_alternative<plot::Heatmap>(p.panel.marks[0]));
  if (p.colour_bar) upright(p.z_ticks, p.z, false, false);
}

}  // namespace

namespace {

void check_texts_at(const NamedFigure& named, double text_scale) {
  INFO(named.file);
  CAPTURE(text_scale);
  const plot::Theme theme;
  const plot::FigureLayout layout =
      plot::lay_out(plot::with_text_scale(named.figure, theme, theme.scale * text_scale), theme);
  std::vector<Rect> all;
  for (const plot::TextLine& line : layout.texts) all.push_back(rect_of(line));
  for (const plot::PanelLayout& panel : layout.panels) {
    for (const plot::TextLine& line : panel.texts) all.push_back(rect_of(line));
    add_ticks(all, panel, theme.tick_size);
    for (const plot::TextLine& line : plot::place_notes(panel, theme)) all.push_back(rect_of(line));
    CHECK(panel.plot.width >= 70);
    CHECK(panel.plot.height >= 40);
  }
  std::string outside, overlapping;
  for (size_t i = 0; i < all.size(); ++i) {
    const Rect& a = all[i];
    if (!(a.left >= 0 && a.right <= layout.width && a.bottom >= 0 && a.top <= layout.height))
      outside += a.what + "; ";
    for (size_t k = 0; k < i; ++k)
      if (overlap(a, all[k])) overlapping += a.what + " with " + all[k].what + "; ";
  }
  CAPTURE(overlapping);
  CHECK(all.size() > 5);
  CHECK(outside.empty());
  CHECK(overlapping.empty());
}

}  // namespace

void check_texts(const NamedFigure& named) {
  for (const double text_scale : {1.0, 1.5}) check_texts_at(named, text_scale);
}

void check_labelled(const NamedFigure& named) {
  INFO(named.file);
  CHECK(!named.figure.title.empty());
  CHECK(!named.figure.panels.empty());
  bool bar = false, cells = false;
  for (const plot::Panel& panel : named.figure.panels) {
    INFO(panel.title);
    CHECK(!panel.title.empty());
    CHECK(!panel.x.label.empty());
    CHECK((!panel.y.label.empty() || !panel.y.names.empty()));
    for (const plot::Mark& mark : panel.marks)
      if (const auto* map = std::get_if<plot::Heatmap>(&mark); map != nullptr && map->categories.empty())
        cells = true, bar |= !map->z_label.empty();
  }
  CHECK(bar == cells);
}

void draw(const std::vector<NamedFigure>& all) {
  const fs::path folder = fs::temp_directory_path() / ("kvviz-figures-" + std::to_string(getpid()));
  std::vector<plot::RenderJob> jobs;
  for (const NamedFigure& named : all) jobs.push_back({folder / named.file, named.figure});
  const auto files = plot::render(jobs, {}, {});
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string bytes = read_file(files[i]);
    const auto number = [&](size_t at) {
      int value = 0;
      for (size_t k = at; k < at + 4; ++k) value = value << 8 | static_cast<unsigned char>(bytes[k]);
      return value;
    };
    INFO(files[i].string());
    REQUIRE(bytes.size() > 1000);
    CHECK(bytes.substr(1, 3) == "PNG");
    CHECK(number(16) == all[i].figure.width);
    CHECK(number(20) >= all[i].figure.height);
  }
  fs::remove_all(folder);
}

}  // namespace kvviz::synthetic
