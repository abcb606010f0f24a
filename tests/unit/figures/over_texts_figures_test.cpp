// SPDX-License-Identifier: MIT
#include "kvviz/figures/over_texts_figures.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unit/figures/checks.hpp"

using namespace kvviz;
using namespace kvviz::figures;

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

std::vector<TextNumbers> numbers(int panels, int texts) {
  std::vector<TextNumbers> all;
  for (int p = 0; p < panels; ++p) {
    TextNumbers one{.title = "Attention on the first token", .y_label = "share", .mean = 0.5};
    for (int i = 0; i < texts; ++i) {
      one.text.push_back(i);
      one.values.push_back(i % 7 == 3 ? none : 0.5 + 0.4 * std::sin(i));
    }
    if (texts > 1) one.low = 0.4, one.high = 0.6;
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<LayerCurves> curves(int panels, int layers) {
  std::vector<LayerCurves> all;
  for (int p = 0; p < panels; ++p) {
    LayerCurves one{.title = "Effective rank (mean over KV heads)", .y_label = "directions in use"};
    for (const char* label : {"keys", "values"}) {
      LayerCurves::Curve curve{.label = label, .colour = plot::colours::key};
      for (int l = 0; l < layers; ++l) {
        curve.layer.push_back(l);
        curve.mean.push_back(l == 2 ? none : 3 + std::cos(l));
        curve.sd.push_back(l == 3 ? none : 0.3);
      }
      one.curves.push_back(std::move(curve));
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<HeadSpread> heads(int maps, int layers, int count) {
  std::vector<HeadSpread> all;
  for (int m = 0; m < maps; ++m) {
    HeadSpread one{.title = "Attention entropy", .x_label = "query head", .z_label = "by uniform"};
    for (int l = 0; l < layers; ++l)
      for (int h = 0; h < count; ++h) {
        one.mean.push_back({l, h, 0.1 * l + 0.01 * h});
        one.sd.push_back({l, h, 0.001 * h});
      }
    all.push_back(std::move(one));
  }
  return all;
}

const plot::Heatmap& map_of(const NamedFigure& named, size_t panel) {
  return std::get<plot::Heatmap>(named.figure.panels.at(panel).marks.front());
}

}  // namespace

TEST_CASE("[over_texts_figures] labelled, and nothing overlaps, from one text and layer to many") {
  for (const int texts : {1, 2, 8, 1000})
    for (const int panels : {1, 2, 7, 12}) {
      NamedFigure named = text_numbers_figure(numbers(panels, texts));
      named.figure.subtitle =
          "demo, 8 texts, sample text 0, Lighthouse to sample text 7, History of printing";
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
  for (const int layers : {1, 4, 28, 126}) {
    for (const int panels : {1, 2, 6}) {
      const NamedFigure named = layer_curves_figure(curves(panels, layers));
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
    for (const int count : {1, 8, 64})
      for (const int maps : {1, 4}) {
        const NamedFigure named = head_spread_figure(heads(maps, layers, count));
        synthetic::check_labelled(named);
        synthetic::check_texts(named);
      }
  }
}

TEST_CASE("[over_texts_figures] all draw") {
  synthetic::draw({text_numbers_figure(numbers(12, 100)), layer_curves_figure(curves(6, 28)),
                   head_spread_figure(heads(4, 28, 32))});
  synthetic::draw({text_numbers_figure(numbers(1, 1)), layer_curves_figure(curves(1, 1)),
                   head_spread_figure(heads(1, 1, 1))});
}

TEST_CASE("[over_texts_figures] the interval spans the panel; one text has none") {
  const auto many = text_numbers_figure(numbers(1, 8)).figure.panels.front();
  const auto& band = std::get<plot::Band>(many.marks.front());
  CHECK(band.x == std::vector<double>{-0.5, 7.5});
  CHECK(band.low == std::vector<double>{0.4, 0.4});
  CHECK(band.high == std::vector<double>{0.6, 0.6});
  const auto one = text_numbers_figure(numbers(1, 1)).figure.panels.front();
  CHECK(std::holds_alternative<plot::Lines>(one.marks.front()));
}

TEST_CASE("[over_texts_figures] bands are the mean less and plus one sd, where both exist") {
  const auto panel = layer_curves_figure(curves(1, 5)).figure.panels.front();
  const auto& band = std::get<plot::Band>(panel.marks.front());
  CHECK(band.x == std::vector<double>{0, 1, 4});
  CHECK(band.low[1] == doctest::Approx(2.7 + std::cos(1)));
  CHECK(band.high[1] == doctest::Approx(3.3 + std::cos(1)));
  const auto& lines = std::get<plot::Lines>(panel.marks.back());
  CHECK(lines.series.size() == 2);
  CHECK(lines.series[0].x.size() == 5);
}

TEST_CASE("[over_texts_figures] mean beside sd, with decimals enough for small ones") {
  const NamedFigure named = head_spread_figure(heads(2, 3, 4));
  REQUIRE(named.figure.panels.size() == 4);
  CHECK(map_of(named, 0).z[5] == doctest::Approx(0.11));
  CHECK(map_of(named, 1).z[5] == doctest::Approx(0.001));
  CHECK(map_of(named, 0).decimals == 2);
  CHECK(map_of(named, 1).decimals == 3);
}

TEST_CASE("[over_texts_figures] one text has no maps of a spread") {
  auto one = heads(2, 3, 4);
  for (HeadSpread& head : one)
    for (MatrixEntry& entry : head.sd) entry.value = none;
  const NamedFigure named = head_spread_figure(one);
  CHECK(named.figure.panels.size() == 2);
  CHECK(named.figure.caption.empty());
  synthetic::check_labelled(named);
}

TEST_CASE("[over_texts_figures] intervals and colours end where the number does") {
  auto all = numbers(1, 8);
  CHECK(text_numbers_figure(all).figure.caption.empty());
  all[0].low = -0.2, all[0].high = 1.3, all[0].least = 0, all[0].most = 1;
  const NamedFigure named = text_numbers_figure(all);
  const auto& band = std::get<plot::Band>(named.figure.panels.front().marks.front());
  CHECK(band.low == std::vector<double>{0, 0});
  CHECK(band.high == std::vector<double>{1, 1});
  CHECK(!named.figure.caption.empty());
  auto maps = heads(1, 2, 2);
  maps[0].least = 0, maps[0].most = 1;
  const NamedFigure shares = head_spread_figure(maps);
  CHECK(map_of(shares, 0).z_max == 1);
  CHECK_FALSE(map_of(shares, 1).z_max);
}
