// SPDX-License-Identifier: MIT
#include "kvviz/tables/similarity_tables.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Two layers of one and two heads, three positions.
SimilarityResult result() {
  SimilarityResult r{
      .layers = 2, .tokens = 40, .compared = 40, .heads = {{0, 0}, {1, 0}, {1, 1}}, .positions = {0, 20, 39}};
  SimilaritySide s;
  s.layer_excess = {1, 0.9, 0.9, 1};
  LayerPair pair{0, 1, {}, {}};
  pair.alignment.cka = {0.95, 0.5, 0.9};
  pair.alignment.deviations = 30;
  pair.subspace.mean_cos2 = 0.7;
  s.pairs = {pair};
  s.predictions = {{0, 1, 24, 16, {.components = 3, .r2 = 0.75}}};
  s.layers = {.threshold = 0.8, .items = 2, .groups = {{0, 1}}, .merges = {}, .f16_bytes = 160};
  s.head_excess = {1, -0.1, 0.8, -0.1, 1, kNan, 0.8, kNan, 1};
  s.heads = {.threshold = 0.75, .items = 3, .groups = {{0, 2}}, .merges = {}, .f16_bytes = 80};
  s.channels = {{0, 0, 16, 0.2, 0.1, 0.11, 0.9, 1, 3},
                {1, 0, 16, kNan, kNan, kNan, kNan, 0, 0},
                {1, 1, 16, 0.1, 0.1, 0, 0.3, 0, 0}};
  s.channel_groups = {.threshold = std::numeric_limits<double>::infinity(), .items = 12};
  s.token_cosine = {1, 0.2, -0.5, 0.2, 1, 0.95, -0.5, 0.95, 1};
  s.tokens = {.threshold = 0.9, .items = 3, .groups = {{1, 2}}, .merges = {}, .f16_bytes = 24};
  s.layer_bytes = 400;
  s.position_bytes = 12;
  r.key = r.value = s;
  r.value.heads.groups.clear();
  r.value.heads.f16_bytes = 0;
  return r;
}

Cell cell(const Table& table, size_t row, const std::string& column) {
  const auto place = std::ranges::find(table.columns, column, &Column::name);
  REQUIRE(place != table.columns.end());
  return table.rows.at(row).at(static_cast<size_t>(place - table.columns.begin()));
}

}  // namespace

TEST_CASE("[similarity tables] savings: one row a mechanism and side, bytes against what was looked at") {
  const Table table = tables::savings_table(result());
  REQUIRE(table.rows.size() == 8);
  CHECK(std::get<std::string>(cell(table, 0, "mechanism")) == "layers");
  CHECK(std::get<std::string>(cell(table, 1, "side")) == "values");
  CHECK(number_in(cell(table, 0, "f16_bytes")) == 160);
  CHECK(number_in(cell(table, 0, "share")) == 160.0 / 800);
  CHECK(number_in(cell(table, 0, "grouped")) == 2);
  CHECK(number_in(cell(table, 0, "removed")) == 1);
  CHECK(number_in(cell(table, 3, "groups")) == 0);  // values of heads: not those of the keys
  CHECK(number_in(cell(table, 6, "share")) == doctest::Approx(24.0 / 72));
  CHECK(reason_of(cell(table, 4, "threshold")).find("two tokens") != std::string::npos);
}

TEST_CASE("[similarity tables] groups and nearest neighbours") {
  const SimilarityResult r = result();
  const Table heads = tables::similar_heads_table(r);
  REQUIRE(heads.rows.size() == 6);
  CHECK(number_in(cell(heads, 0, "group")) == 0);
  CHECK(number_in(cell(heads, 0, "nearest_layer")) == 1);
  CHECK(number_in(cell(heads, 0, "nearest_head")) == 1);
  CHECK(number_in(cell(heads, 0, "excess")) == 0.8);
  CHECK(!reason_of(cell(heads, 1, "group")).empty());
  CHECK(number_in(cell(heads, 1, "nearest_layer")) == 0);  // not the one that is NaN
  CHECK(!reason_of(cell(heads, 3, "group")).empty());
  const Table layers = tables::similar_layers_table(r);
  CHECK(number_in(cell(layers, 1, "nearest")) == 0);
  CHECK(number_in(cell(layers, 1, "group_size")) == 2);
  const std::vector<std::string> texts(40, "x");
  const Table tokens = tables::similar_tokens_table(r, texts);
  REQUIRE(tokens.rows.size() == 3);
  CHECK(number_in(cell(tokens, 1, "k_nearest")) == 39);
  CHECK(number_in(cell(tokens, 1, "k_cosine")) == 0.95);
  CHECK(!reason_of(cell(tokens, 0, "k_group")).empty());
  CHECK(reason_of(cell(tokens, 0, "sink_share")).find("queries") != std::string::npos);
}

TEST_CASE("[similarity tables] pairs, predictions, channels") {
  const SimilarityResult r = result();
  const Table pairs = tables::layer_pairs_table(r);
  REQUIRE(pairs.rows.size() == 2);
  CHECK(number_in(cell(pairs, 0, "excess")) == 0.9);
  CHECK(number_in(cell(pairs, 0, "mean_cos2")) == 0.7);
  CHECK(!reason_of(cell(pairs, 0, "largest_angle")).empty());
  const Table prediction = tables::layer_prediction_table(r);
  CHECK(number_in(cell(prediction, 0, "error")) == 0.5);
  CHECK(number_in(cell(prediction, 0, "from")) == 0);
  const Table channels = tables::channel_correlation_table(r);
  CHECK(number_in(cell(channels, 0, "grouped")) == 3);
  CHECK(!reason_of(cell(channels, 1, "mean_abs_r")).empty());
}

TEST_CASE("[similarity tables] all are valid; query heads only where they were measured") {
  SimilarityResult r = result();
  std::vector<std::string> names;
  for (const Table& table : tables::similarity_tables(r, {})) {
    validate(table);
    names.push_back(table.name);
  }
  CHECK(names == std::vector<std::string>{"savings", "layers", "layer_pairs", "layer_prediction", "heads",
                                          "channels", "tokens"});
  r.query_heads = {{0, 0}, {0, 1}};
  r.attention = {1, 0.3, 0.3, 1};
  const Table heads = tables::query_heads_table(r);
  validate(heads);
  CHECK(number_in(cell(heads, 0, "nearest_head")) == 1);
  CHECK(number_in(cell(heads, 0, "mean_similarity")) == 0.3);
}
