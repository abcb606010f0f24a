// SPDX-License-Identifier: MIT
#include "kvviz/plot/prepare.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/plot/marks.hpp"

using namespace kvviz::plot;

namespace {
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
}  // namespace

TEST_CASE("[pooling] means of blocks, positions follow, NaN is left out") {
  Heatmap map{.z = {1, 2, 3, 4, 5, 6, kNan, 8, kNan, kNan}, .rows = 2, .cols = 5};
  const Heatmap out = pooled(map, 2, 2);
  REQUIRE(out.rows == 1);
  REQUIRE(out.cols == 3);
  CHECK(out.z[0] == 3);  // 1 2 6
  CHECK(out.z[1] == 5);  // 3 4 8
  CHECK(out.z[2] == 5);  // the last block is not full
  CHECK(out.x0 == 0.5);
  CHECK(out.dx == 2);
  map.z = {kNan, kInf};
  map.rows = 1, map.cols = 2;
  CHECK(std::isnan(pooled(map, 1, 2).z[0]));
}

TEST_CASE("[ranges] cells end at their edges, bars start at zero, lines keep a margin") {
  Panel cells;
  cells.marks.emplace_back(Heatmap{.z = {0, 1, 2, 3, 4, 5}, .rows = 2, .cols = 3});
  CHECK(ranges(cells).x.low == -0.5);
  CHECK(ranges(cells).x.high == 2.5);
  CHECK(ranges(cells).y.high == 1.5);

  Panel bars;
  bars.marks.emplace_back(Bars{{{"a", {2, 4}}}});
  CHECK(ranges(bars).y.low == 0);
  CHECK(ranges(bars).y.high > 4);
  CHECK(ranges(bars).x.low == -0.5);

  Panel lines;
  lines.x.whole = true;
  lines.marks.emplace_back(Lines{{{"a", {0, 1, 2}, {1, kNan, 3}}}});
  CHECK(ranges(lines).x.low == -0.5);
  CHECK(ranges(lines).x.high == 2.5);
  CHECK(ranges(lines).y.low < 1);
  CHECK(ranges(lines).y.high > 3);
}

TEST_CASE("[ranges] half a step of room is for linear axes: on a logarithmic one it would be half a decade") {
  Panel panel;
  panel.x = {.label = "keys", .scale = Scale::log10, .whole = true};
  panel.marks.emplace_back(Lines{{{"", {1, 100}, {0, 1}}}});
  CHECK(ranges(panel).x.high == doctest::Approx(2.1));
}

TEST_CASE("[ranges] stacked bars reach their sum") {
  Panel panel;
  panel.marks.emplace_back(Bars{{{"a", {1, 2}}, {"b", {5, 1}}}, true});
  CHECK(ranges(panel).y.high >= 6);
  CHECK(ranges(panel).y.high < 7);
}

TEST_CASE("[ranges] are never empty and never infinite") {
  for (const std::vector<double>& y : {std::vector<double>{},
                                       {kNan},
                                       {kInf, -kInf},
                                       {0},
                                       {7},
                                       {-7, -7},
                                       {1e-300},
                                       {1e300},
                                       {2.4575221, 2.45752212}})
    for (const Scale scale : {Scale::linear, Scale::log10})
      for (const Stroke stroke : {Stroke::line, Stroke::impulses})
        for (const bool from_zero : {false, true}) {
          Panel panel;
          panel.y.scale = scale;
          if (from_zero) panel.y.min = 0;
          panel.marks.emplace_back(Lines{{{"", std::vector<double>(y.size(), 1.0), y, {}, stroke}}});
          const Range range = ranges(panel).y;
          CHECK(std::isfinite(range.low));
          CHECK(std::isfinite(range.high));
          CHECK(number(range.low) != number(range.high));  // gnuplot draws no empty range
        }
}

TEST_CASE("[colours] limits: data, fixed, symmetric around zero") {
  CHECK(z_range({.z = {1, kNan, 3}, .rows = 1, .cols = 3}).high == 3);
  const Range fixed = z_range({.z = {1, 3}, .rows = 1, .cols = 2, .z_min = 0, .z_max = 10});
  CHECK(fixed.low == 0);
  CHECK(fixed.high == 10);
  const Range diverging = z_range({.z = {-1, 3}, .rows = 1, .cols = 2, .map = ColourMap::diverging});
  CHECK(diverging.low == -3);
  CHECK(diverging.high == 3);
  for (const double only : {0.0, 5.0, -5.0, kNan}) {
    const Range range = z_range({.z = {only, only * (1 + 1e-9)}, .rows = 1, .cols = 2});
    CHECK(number(range.low) != number(range.high));
  }
}

TEST_CASE("[colours] series take the palette in order, fixed colours stay") {
  Panel panel;
  panel.marks.emplace_back(Lines{{{"a", {}, {}}, {"sink", {}, {}, colours::sink}, {"b", {}, {}}}});
  const Theme theme;
  const Panel out = coloured(panel, theme);
  const auto& series = std::get<Lines>(out.marks[0]).series;
  CHECK(*series[0].colour == theme.categorical[0]);
  CHECK(*series[1].colour == colours::sink);
  CHECK(*series[2].colour == theme.categorical[1]);
  CHECK(colours::sink.rgb == 0xff3366);
  CHECK(colours::heavy_hitter.rgb == 0x00ccff);
}

TEST_CASE("[colours] maps hit their stops and numbers on cells stay readable") {
  CHECK(colour_at(ColourMap::sequential, 0).rgb == 0x440154);
  CHECK(colour_at(ColourMap::sequential, 1).rgb == 0xfde725);
  CHECK(colour_at(ColourMap::sequential, 7).rgb == 0xfde725);
  CHECK(colour_at(ColourMap::diverging, 0.5).rgb == 0xf7f7f7);
  CHECK(readable_on({0x440154}).rgb == 0xffffff);
  CHECK(readable_on({0xfde725}).rgb == 0x000000);
  CHECK(luminance({0xffffff}) == doctest::Approx(1));
  CHECK(luminance({0x777777}) == doctest::Approx(0.1845).epsilon(0.001));
  // Mid tones, on which white has contrasts of 2.8 to 4.1 and black of 5.2 to 7.5.
  for (const uint32_t background : {0x21918cu, 0x1fa088u, 0x28ae80u, 0x4393c3u, 0xd6604du})
    CHECK(readable_on({background}).rgb == 0x000000);
}

TEST_CASE("[thinning] keeps the extremes of every pixel, and gaps") {
  Series series{"", {}, {}};
  for (int i = 0; i < 32768; ++i) series.x.push_back(i), series.y.push_back(i % 100);
  series.y[20000] = 1e6;
  series.y[3] = kNan;
  const Series out = thinned(series, 700);
  CHECK(out.x.size() <= 1400);
  CHECK(*std::max_element(out.y.begin() + 4, out.y.end()) == 1e6);
  CHECK(std::count_if(out.y.begin(), out.y.end(), [](double y) { return std::isnan(y); }) == 1);
  CHECK(std::is_sorted(out.x.begin(), out.x.end()));
  CHECK(thinned({"", {0, 1}, {2, 3}}, 700).x.size() == 2);
  CHECK(bars_per_pixel(series, 700) == 1);  // a line, which keeps both ends of a pixel's values
  series.stroke = Stroke::impulses;
  CHECK(bars_per_pixel(series, 700) == 47);
  CHECK(bars_per_pixel(series, 32768) == 1);
  const Series bars = thinned(series, 700);
  CHECK(bars.x.size() == 700);
  CHECK(*std::max_element(bars.y.begin() + 1, bars.y.end()) == 1e6);
}

TEST_CASE("[legend] labels, and what grey means") {
  Panel panel;
  panel.marks.emplace_back(Lines{{{"a", {0, 1}, {1, kNan}}, {"", {0}, {1}}}});
  panel.marks.emplace_back(Reference{.at = 1, .label = "limit"});
  const auto entries = legend(panel);
  REQUIRE(entries.size() == 3);
  CHECK(entries[0].label == "a");
  CHECK(entries[1].label == "limit");
  CHECK(entries[2].label == "no value");
  Panel cells;
  cells.marks.emplace_back(Heatmap{.z = {1, kNan}, .rows = 1, .cols = 2, .nothing_label = "future"});
  REQUIRE(legend(cells).size() == 1);
  CHECK(legend(cells)[0].label == "future");
  std::get<Heatmap>(cells.marks[0]).z = {1, 2};
  CHECK(legend(cells).empty());
}

TEST_CASE("[legend] samples look as the marks do") {
  Panel panel;
  const std::vector<double> many(100, 1.0);
  panel.marks.emplace_back(Lines{{{"points", {0}, {1}, {}, Stroke::points, Marker::diamond},
                                  {"few", {0, 1}, {1, 1}, {}, Stroke::line, Marker::square},
                                  {"many", many, many, {}, Stroke::line, Marker::square},
                                  {"dashes", {0, 1}, {1, 1}, {}, Stroke::dashed, Marker::triangle},
                                  {"bars", {0, 1}, {1, 1}, {}, Stroke::impulses}}});
  panel.marks.emplace_back(Band{"band", {0, 1}, {0, 0}, {1, 1}});
  panel.marks.emplace_back(Histogram{{0, 1}, {{"counts", {1}}}});
  panel.marks.emplace_back(Bars{{{"bar", {1}}}});
  panel.marks.emplace_back(Heatmap{.z = {0}, .rows = 1, .cols = 1, .categories = {{"white", {0xffffff}}}});
  const auto entries = legend(panel);
  REQUIRE(entries.size() == 9);
  const Marker markers[] = {Marker::diamond, Marker::square, Marker::none, Marker::triangle, Marker::none};
  for (size_t i = 0; i < std::size(markers); ++i) CHECK(entries[i].marker == markers[i]);
  CHECK(entries[5].opacity == kBandOpacity);
  CHECK(entries[6].opacity == kHistogramOpacity);
  CHECK(entries[7].opacity == kBarOpacity);
  CHECK(entries[8].opacity == 1);
  CHECK(entries[8].outline == colours::neutral);  // white is not seen on white
}

TEST_CASE("[error bars] halves may differ; what is unknown has none; the axis has room for them") {
  Bars::Group group{"a", {1, 2, 3}, {0.5, kNan, 0.25}};
  CHECK(error_bar(group, 0).below == 0.5);
  CHECK(error_bar(group, 0).above == 0.5);
  CHECK(error_bar(group, 1).below == 0);
  CHECK(error_bar(Bars::Group{"a", {1}}, 0).above == 0);
  group.errors_above = {4, 0, kInf};
  CHECK(error_bar(group, 0).below == 0.5);
  CHECK(error_bar(group, 0).above == 4);
  CHECK(error_bar(group, 2).below == 0.25);
  CHECK(error_bar(group, 2).above == 0);
  Panel panel;
  panel.marks.emplace_back(Bars{{group}});
  CHECK(ranges(panel).y.low == 0);
  CHECK(ranges(panel).y.high == doctest::Approx(5 * 1.05));
}

TEST_CASE("[prepare] categories are pooled to the most frequent, the first among equals") {
  Heatmap map;
  map.rows = 2, map.cols = 5;
  const double none = std::nan("");
  map.z = {2, 2, 1, 0, none,  //
           0, 2, 0, 1, none};
  map.categories = {{"a", {}}, {"b", {}}, {"c", {}}};
  const Heatmap out = pooled(map, 2, 2);
  REQUIRE(out.z.size() == 3);
  CHECK(out.z[0] == 2);
  CHECK(out.z[1] == 0);
  CHECK(std::isnan(out.z[2]));
}

TEST_CASE("[prepare] the first of many bars does not stand on the axis") {
  Series series;
  series.stroke = Stroke::impulses;
  for (int i = 0; i < 1024; ++i) series.x.push_back(i), series.y.push_back(1);
  Panel panel;
  panel.x.whole = true;
  panel.marks = {Lines{{series}}};
  const PanelRanges many = ranges(panel);
  CHECK((0 - many.x.low) / (many.x.high - many.x.low) > 0.005);
  series.x.resize(5), series.y.resize(5);
  panel.marks = {Lines{{series}}};
  CHECK(ranges(panel).x.low == -0.5);
}
