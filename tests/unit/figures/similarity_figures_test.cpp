// SPDX-License-Identifier: MIT
#include "kvviz/figures/similarity_figures.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "support/errors.hpp"
#include "unit/figures/checks.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Size {
  int layers = 4, heads = 4;
  int64_t positions = 100;
  int dim = 16;
  bool model = true;
};

/// Alike as they are near, some below 0.
std::vector<double> near(int64_t items) {
  std::vector<double> all(items * items);
  for (int64_t i = 0; i < items; ++i)
    for (int64_t j = 0; j < items; ++j)
      all[i * items + j] = std::cos(3.0 * static_cast<double>(i - j) / static_cast<double>(items));
  return all;
}

/// Every item joins those before it; `grouped` of them are one group.
Grouping chain(int64_t items, int64_t grouped) {
  Grouping g{.threshold = 0.75, .items = items};
  for (int64_t i = 1; i < items; ++i)
    g.merges.push_back({0, i, 1 - static_cast<double>(i) / static_cast<double>(items)});
  if (grouped > 1) {
    g.groups.emplace_back(grouped);
    std::iota(g.groups[0].begin(), g.groups[0].end(), 0);
  }
  return g;
}

SimilaritySide side(const Size& size) {
  const int64_t heads = size.layers * size.heads;
  SimilaritySide s;
  s.layer_excess = s.layer_overlap = near(size.layers);
  for (int i = 0; i < size.layers; ++i)
    for (int j = i + 1; j < size.layers; ++j) {
      LayerPair pair{i, j, {}, {}};
      pair.subspace.mean_cos2 = 1.0 / (j - i + 1);
      pair.subspace.chance = 0.1;
      s.pairs.push_back(pair);
    }
  for (int i = 1; i < size.layers; ++i)
    s.predictions.push_back({i - 1, i, 256, 256, {.components = 8, .r2 = 0.3}});
  s.layers = chain(size.layers, size.layers / 2);
  s.head_excess = near(heads);
  s.heads = chain(heads, heads / 3);
  for (int l = 0; l < size.layers; ++l) {
    for (int h = 0; h < size.heads; ++h) {
      const bool grouped = size.dim > 3;
      s.channels.push_back(
          {l, h, size.dim, 0.1 + 0.01 * h, 0.05, 0.06 + 0.01 * h, 0.9, grouped ? 1 : 0, grouped ? 2 : 0});
      if (grouped)
        s.channel_groups.groups.push_back({s.channel_groups.items + 1, s.channel_groups.items + 3});
      s.channel_groups.items += size.dim;
    }
  }
  s.picked = near(size.dim);
  s.picked[0] = kNan;
  s.token_cosine = near(size.positions);
  s.tokens = chain(size.positions, 5);
  s.dim = size.dim;
  s.token_channels.assign(size.positions * size.dim, 0.7);
  return s;
}

SimilarityResult result(const Size& size) {
  SimilarityResult r{.layers = size.layers, .tokens = 5 * size.positions, .compared = 5 * size.positions};
  for (int l = 0; l < size.layers; ++l)
    for (int h = 0; h < size.heads; ++h) r.heads.push_back({l, h});
  for (int64_t i = 0; i < size.positions; ++i) r.positions.push_back(5 * i);
  r.key = r.value = side(size);
  r.rotated_keys = true;
  if (size.layers < 2) r.layer_reason = r.prediction_reason = "one layer";
  if (!size.model) return r;
  r.sink_share.assign(size.positions, 0.01);
  r.sink_share[0] = 0.9;
  r.query_heads = r.heads;
  r.attention = near(std::ssize(r.query_heads));
  return r;
}

std::vector<NamedFigure> drawn(const Size& size) {
  const std::vector<std::string> texts(5 * size.positions, " lighthouse");
  return figures::similarity_figures(result(size), texts);
}

const NamedFigure& named(const std::vector<NamedFigure>& all, const std::string& file) {
  return *std::ranges::find(all, "similarity/" + file, &NamedFigure::file);
}

}  // namespace

TEST_CASE("[similarity figures] labelled, texts inside and apart, at all sizes") {
  for (const Size& size : {Size{}, Size{1, 1, 1, 1}, Size{28, 8, 100, 128}, Size{80, 8, 20, 128},
                           Size{12, 12, 30, 64}, Size{2, 1, 2, 4}, Size{126, 16, 100, 256}}) {
    CAPTURE(size.layers);
    const auto all = drawn(size);
    CHECK(all.size() == (size.layers > 1 ? 10 : 8));
    for (const NamedFigure& one : all) {
      CAPTURE(one.file);
      synthetic::check_labelled(one);
      synthetic::check_texts(one);
    }
  }
}

TEST_CASE("[similarity figures] all are drawn") {
  synthetic::draw(drawn({}));
  synthetic::draw(drawn({28, 8, 100, 128}));
}

TEST_CASE(
    "[similarity figures] signed numbers are white at 0, from -1 to 1; positions are those of the text") {
  const auto all = drawn({});
  for (const char* file : {"layer_similarity_matrix", "head_similarity_matrix", "token_similarity_matrix",
                           "token_kv_similarity_matrices"})
    for (const plot::Panel& panel : named(all, file).figure.panels) {
      const auto& map = std::get<plot::Heatmap>(panel.marks.front());
      CHECK(map.map == plot::ColourMap::diverging);
      CHECK(map.z_min == -1);
      CHECK(map.z_max == 1);
    }
  const plot::Panel& tokens = named(all, "token_kv_similarity_matrices").figure.panels[1];
  const auto& map = std::get<plot::Heatmap>(tokens.marks.front());
  CHECK(map.x0 + 99 * map.dx == 495);
  const auto& sinks = std::get<plot::Lines>(tokens.marks.back()).series.front();
  CHECK(sinks.x == std::vector<double>{0, 495});
  CHECK(sinks.y == std::vector<double>{0, 0});
  CHECK(!sinks.label.empty());
  const auto& patterns =
      std::get<plot::Heatmap>(named(all, "token_embedding_patterns").figure.panels[0].marks[0]);
  CHECK(patterns.y0 + 99 * patterns.dy == 495);
  CHECK(patterns.map == plot::ColourMap::sequential);
  const auto small = drawn({2, 2, 20, 4});
  const plot::Panel& few = named(small, "token_similarity_matrix").figure.panels[0];
  CHECK(test::holds(few.x.names[3], "15"));
  CHECK(test::holds(few.x.names[3], "lighthouse"));
}

TEST_CASE("[similarity figures] one matrix of tokens: keys above the diagonal, values below") {
  SimilarityResult r = result({});
  std::ranges::fill(r.key.token_cosine, 0.5);
  std::ranges::fill(r.value.token_cosine, -0.25);
  const auto all = figures::similarity_figures(r, {});
  const auto& map = std::get<plot::Heatmap>(named(all, "token_similarity_matrix").figure.panels[0].marks[0]);
  CHECK(map.z[0 * 100 + 7] == 0.5);
  CHECK(map.z[7 * 100 + 0] == -0.25);
}

TEST_CASE("[similarity figures] without a model: no attention, sinks not known; one layer: no prediction") {
  const auto file = drawn({.model = false});
  CHECK(file.size() == 9);
  CHECK(test::holds(named(file, "token_similarity_matrix").figure.caption, "not known"));
  for (const NamedFigure& one : file) CHECK(one.file != "similarity/attention_similarity");
  for (const NamedFigure& one : drawn({1, 4, 20, 4})) CHECK(one.file != "similarity/layer_prediction_error");
}

TEST_CASE("[similarity figures] the tree: a leaf for every head, joins at 1 - similarity, once around") {
  SimilarityResult r = result({2, 2, 20, 4});
  r.key.heads = {.threshold = 0.75, .items = 4, .merges = {{1, 3, 0.9}, {0, 2, 0.5}, {0, 1, -0.2}}};
  const auto all = figures::similarity_figures(r, {});
  const plot::Panel& panel = named(all, "head_dendrogram").figure.panels[0];
  CHECK(panel.x.names == std::vector<std::string>{"0.0", "1.0", "0.1", "1.1"});
  const plot::Series& line = std::get<plot::Lines>(panel.marks[0]).series[0];
  REQUIRE(line.x.size() == line.y.size());
  const auto has = [&](double x, double y) {
    for (size_t i = 0; i < line.x.size(); ++i)
      if (line.x[i] == x && std::abs(line.y[i] - y) < 1e-12) return true;
    return false;
  };
  for (int leaf = 0; leaf < 4; ++leaf) CHECK(has(leaf, 0));
  CHECK(has(0, 0.5));
  CHECK(has(1, 0.5));
  CHECK(has(2, 0.1));
  CHECK(has(0.5, 1));  // what chance explains is at 1
  CHECK(has(2.5, 1));
  for (size_t i = 1; i < line.x.size(); ++i)  // no slanted stroke
    CHECK((line.x[i] == line.x[i - 1] || line.y[i] == line.y[i - 1]));
  // A head that cannot be compared stands apart, joined at the top.
  r.key.heads.merges = {{1, 3, 0.9}};
  const auto apart = figures::similarity_figures(r, {});
  const plot::Series& forest =
      std::get<plot::Lines>(named(apart, "head_dendrogram").figure.panels[0].marks[0]).series[0];
  for (size_t i = 1; i < forest.x.size(); ++i)
    CHECK((forest.x[i] == forest.x[i - 1] || forest.y[i] == forest.y[i - 1]));
}

TEST_CASE("[similarity figures] P17: groups of channels by head, the largest first; none, no figure") {
  Size size;
  SimilarityResult r = result(size);
  r.key.channel_groups.groups[1].push_back(size.dim + 2);
  const auto all = figures::similarity_figures(r, {});
  const plot::Figure& figure = named(all, "embedding_dimension_groups").figure;
  REQUIRE(figure.panels.size() == 2);
  const plot::Panel& keys = figure.panels[0];
  CHECK(keys.x.names.at(0) == "0.1: 1 3 2");
  CHECK(std::get<plot::Bars>(keys.marks[0]).groups[0].values.at(0) == 3);
  CHECK(keys.x.names.at(1) == "0.0: 1 3");
  for (SimilaritySide* side : {&r.key, &r.value}) {
    side->channel_groups = {};
    for (auto& head : side->channels) head.groups = 0;
  }
  const auto without = figures::similarity_figures(r, {});
  CHECK(without.size() + 1 == all.size());
}

TEST_CASE("[similarity figures] of many heads a layer stands around its number, with lines between layers") {
  const auto few = drawn({2, 4});
  CHECK(named(few, "attention_similarity").figure.panels[0].marks.size() == 1);
  const auto many = drawn({12, 12, 30, 64});
  const plot::Panel& panel = named(many, "attention_similarity").figure.panels[0];
  const auto& map = std::get<plot::Heatmap>(panel.marks[0]);
  CHECK(map.x0 - map.dx / 2 == doctest::Approx(-0.5));
  REQUIRE(panel.marks.size() == 2);
  const auto& borders = std::get<plot::Lines>(panel.marks[1]).series;
  REQUIRE(borders.size() == 2 * 11);
  CHECK(borders[0].y == std::vector<double>{0.5, 0.5});
  CHECK(borders[1].x == std::vector<double>{0.5, 0.5});
}

TEST_CASE("[similarity figures] colours go below 0 only where values do") {
  SimilarityResult r = result({});
  r.value.layer_excess.assign(r.value.layer_excess.size(), 0.4);
  const auto all = figures::similarity_figures(r, {});
  const plot::Figure& figure = named(all, "layer_similarity_matrix").figure;
  const auto& keys = std::get<plot::Heatmap>(figure.panels[0].marks[0]);
  const auto& values = std::get<plot::Heatmap>(figure.panels[1].marks[0]);
  CHECK(keys.map == plot::ColourMap::diverging);
  CHECK(*keys.z_min == -1);
  CHECK(values.map == plot::ColourMap::sequential);
  CHECK(*values.z_min == 0);
}

TEST_CASE("[similarity figures] captions say how many of the tokens are drawn, and the threshold of groups") {
  SimilarityResult r = result({});
  r.key.channel_groups.threshold = 0.83, r.value.channel_groups.threshold = 0.9;
  const auto some = figures::similarity_figures(r, {});
  for (const char* file :
       {"token_similarity_matrix", "token_kv_similarity_matrices", "token_embedding_patterns"})
    CHECK(test::holds(named(some, file).figure.caption, "100 of 500 tokens, equally spaced"));
  CHECK(test::holds(named(some, "embedding_dimension_groups").figure.caption, "groups:0.83."));
  r.tokens = 100;
  const auto all = figures::similarity_figures(r, {});
  CHECK_FALSE(test::holds(named(all, "token_similarity_matrix").figure.caption, "equally spaced"));
}
