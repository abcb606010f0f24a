// SPDX-License-Identifier: MIT
#include "kvviz/tables/sink_tables.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

const SinkRule strict{SinkMetric::alpha, 0.3};

size_t column_of(const Table& table, const std::string& name) {
  const auto found = std::ranges::find(table.columns, name, &Column::name);
  REQUIRE_MESSAGE(found != table.columns.end(), table.name, " has no column ", name);
  return static_cast<size_t>(found - table.columns.begin());
}

const Cell& cell(const Table& table, size_t row, const std::string& column) {
  REQUIRE(row < table.rows.size());
  return table.rows[row][column_of(table, column)];
}

std::string reason(const Table& table, size_t row, const std::string& column) {
  return reason_of(cell(table, row, column));
}

const std::string& unit(const Table& table, const std::string& column) {
  return table.columns[column_of(table, column)].unit;
}

/// A well-formed table whose keys name every row once.
void check_form(const Table& table, const std::string& name, const std::vector<std::string>& key) {
  CHECK(table.name == name);
  CHECK(table.key == key);
  validate(table);
  std::set<std::string> rows;
  for (const auto& row : table.rows) {
    std::string label;
    for (const std::string& column : key) {
      const Cell& part = row[column_of(table, column)];
      const auto* text = std::get_if<std::string>(&part);
      label += (text != nullptr ? *text : shortest(number_in(part).value())) + "/";
    }
    CHECK_MESSAGE(rows.insert(label).second, table.name, ": two rows ", label);
  }
}

/// Two layers of two query heads on one KV head: head (0, 1) was a sink in one of two texts, head (1, 1) has
/// no score at all.
SinkSummary summary() {
  SinkSummary s{.rule = strict};
  s.heads.resize(4);
  for (int i = 0; i < 4; ++i) {
    s.heads[i].name = {i / 2, i % 2, 0};
    for (Spread& spread : s.heads[i].score) spread = {0.125 * (i + 1), 0.25, 2};
  }
  s.heads[1].sink_share = 0.5;
  s.heads[2].score[static_cast<size_t>(SinkMetric::ratio)] = {7, kNone, 1};
  for (Spread& spread : s.heads[3].score) spread = {};
  s.layers = {{0, {0.5, 0.25, 2}, 0.25, 0.5, 0.125}, {1, {0.75, kNone, 1}, 1, 0.5, 0}};
  s.by_length = {{2, {0.5, 0.25, 2}, {0.75, 0.125, 2}, 0.75}, {64, {}, {}, kNone}};
  s.sweep = {{0.3, 0.75, 0.5, 0.25}, {0.5, kNone, kNone, kNone}};
  return s;
}

AcrossLayers across() {
  return {.first_sinks = 3,
          .p_later = 0.5,
          .low = 0.25,
          .high = 0.75,
          .p_later_not = 0.125,
          .base = 0.375,
          .lift = 4.0 / 3,
          .phi = 0.0625,
          .phi_adjacent = -0.5};
}

}  // namespace

TEST_CASE("[tables] sink heads: a row per query head, reasons where there is no score") {
  const Table table = tables::sink_heads_table(summary());
  check_form(table, "sink_heads", {"layer", "head"});
  REQUIRE(table.rows.size() == 4);
  CHECK(cell(table, 1, "kv_head") == Cell{int64_t{0}});
  CHECK(cell(table, 1, "sink_share") == Cell{0.5});
  CHECK(cell(table, 2, "layer") == Cell{int64_t{1}});
  for (const SinkMetricInfo& metric : sink_metrics()) {
    CHECK(cell(table, 0, metric.name) == Cell{0.125});
    CHECK(cell(table, 1, std::string(metric.name) + "_sd") == Cell{0.25});
    CHECK(reason(table, 3, metric.name) == "no text has this score");
    CHECK(reason(table, 3, std::string(metric.name) + "_sd") == "no text has this score");
  }
  CHECK(cell(table, 2, "ratio") == Cell{7.0});
  CHECK(reason(table, 2, "ratio_sd") == "one text has no spread");
  CHECK(reason(table, 3, "sink_share") == "no text has this score");
}

TEST_CASE("[tables] sink layers: the rates, and the score that decides under its own name") {
  const Table table = tables::sink_layers_table(summary());
  check_form(table, "sink_layers", {"layer"});
  REQUIRE(table.rows.size() == 2);
  CHECK(cell(table, 0, "rate") == Cell{0.25});
  CHECK(cell(table, 0, "rate_of_mean") == Cell{0.5});
  CHECK(cell(table, 0, "group_rate") == Cell{0.125});
  CHECK(cell(table, 0, "alpha") == Cell{0.5});
  CHECK(cell(table, 0, "alpha_sd") == Cell{0.25});
  CHECK(reason(table, 1, "alpha_sd") == "one text has no spread");
}

TEST_CASE("[tables] sink texts: rate by the rule, means over the heads that have a score") {
  SinkStudy study{.heads = {{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 1, 0}}};
  PromptSinks text{.name = "a text", .tokens = 64};
  for (auto& scores : text.score) scores.assign(4, kNone);
  text.score[static_cast<size_t>(SinkMetric::alpha)] = {0.3, 0.5, 0.875, kNone};
  study.prompts = {text, {.name = "a text", .text = 2, .tokens = 10, .score = {}}};  // text 1 failed
  for (auto& scores : study.prompts[1].score) scores.assign(4, kNone);
  study.prompts[1].score[static_cast<size_t>(SinkMetric::share0)] = {0.25, 0.5, 0.75, 1};

  const Table table = tables::sink_texts_table(study, strict);
  check_form(table, "sink_texts", {"text"});
  REQUIRE(table.rows.size() == 2);
  CHECK(cell(table, 0, "name") == Cell{std::string("a text")});
  CHECK(cell(table, 0, "tokens") == Cell{int64_t{64}});
  CHECK(unit(table, "tokens") == "tokens");
  CHECK(number_in(cell(table, 0, "rate")).value() == doctest::Approx(2.0 / 3));  // 0.3 is not above 0.3
  CHECK(number_in(cell(table, 0, "alpha")).value() == doctest::Approx(1.675 / 3));
  CHECK(reason(table, 0, "share0") == "not defined for this text");
  CHECK(cell(table, 1, "text") == Cell{int64_t{2}});
  CHECK(reason(table, 1, "rate") == "no text has this score");
  CHECK(cell(table, 1, "share0") == Cell{0.625});

  const Table inclusive = tables::sink_texts_table(study, {SinkMetric::share0, 0.5});
  CHECK(cell(inclusive, 1, "rate") == Cell{0.75});
}

TEST_CASE("[tables] sink lengths: no text so long is said, and is not 0") {
  const Table table = tables::sink_lengths_table(summary());
  check_form(table, "sink_lengths", {"length"});
  CHECK(unit(table, "length") == "tokens");
  CHECK(cell(table, 0, "texts") == Cell{int64_t{2}});
  CHECK(cell(table, 0, "rate_sd") == Cell{0.25});
  CHECK(cell(table, 0, "alpha") == Cell{0.75});
  CHECK(cell(table, 0, "uniform") == Cell{0.75});
  CHECK(cell(table, 1, "texts") == Cell{int64_t{0}});
  for (const char* column : {"rate", "rate_sd", "alpha", "alpha_sd"})
    CHECK(reason(table, 1, column) == "no text is so long");
  CHECK(!reason(table, 1, "uniform").empty());
}

TEST_CASE("[tables] sink sweep: a row per threshold") {
  const Table table = tables::sink_sweep_table(summary());
  check_form(table, "sink_sweep", {"threshold"});
  CHECK(cell(table, 0, "threshold") == Cell{0.3});
  CHECK(cell(table, 0, "rate") == Cell{0.75});
  CHECK(cell(table, 0, "rate_of_mean") == Cell{0.5});
  CHECK(cell(table, 0, "group_rate") == Cell{0.25});
  for (const char* column : {"rate", "rate_of_mean", "group_rate"})
    CHECK(reason(table, 1, column) == "no text has this score");
}

TEST_CASE("[tables] across layers: all texts first, then each, every null with its own reason") {
  AcrossLayers none{.base = 0.25, .reason = "no head of the first layer is a sink"};
  AcrossLayers alone = across();
  alone.low = alone.high = alone.p_later_not = alone.phi = alone.phi_adjacent = kNone;
  AcrossLayers one_layer{.reason = "the model has one layer"};
  AcrossLayers silent = across();
  silent.base = 0, silent.p_later = 0, silent.lift = kNone;
  SinkStudy study;
  for (const int64_t text : {0, 1, 3, 4}) study.prompts.push_back({.text = text});
  const Table table = tables::sink_across_layers_table(
      study, across(), std::vector<AcrossLayers>{none, alone, one_layer, silent});
  check_form(table, "sink_across_layers", {"text"});
  REQUIRE(table.rows.size() == 5);
  CHECK(cell(table, 0, "text") == Cell{std::string("all")});
  CHECK(cell(table, 1, "text") == Cell{std::string("0")});
  CHECK(cell(table, 4, "text") == Cell{std::string("4")});
  CHECK(cell(table, 0, "first_layer_sinks") == Cell{int64_t{3}});
  CHECK(cell(table, 0, "p_later") == Cell{0.5});
  CHECK(cell(table, 0, "p_later_low") == Cell{0.25});
  CHECK(cell(table, 0, "p_later_high") == Cell{0.75});
  CHECK(cell(table, 0, "p_later_not") == Cell{0.125});
  CHECK(cell(table, 0, "base") == Cell{0.375});
  CHECK(cell(table, 0, "lift") == Cell{4.0 / 3});
  CHECK(cell(table, 0, "phi") == Cell{0.0625});
  CHECK(cell(table, 0, "phi_adjacent") == Cell{-0.5});

  CHECK(reason(table, 1, "p_later") == "no head of the first layer is a sink");
  CHECK(reason(table, 1, "lift") == "no head of the first layer is a sink");
  CHECK(cell(table, 1, "base") == Cell{0.25});
  CHECK(reason(table, 1, "phi_adjacent") == "no two neighbouring layers both have sinks and others");
  CHECK(reason(table, 2, "p_later_low") == "fewer than 2 head indices are sinks in the first layer");
  CHECK(reason(table, 2, "p_later_high") == reason(table, 2, "p_later_low"));
  CHECK(reason(table, 2, "p_later_not") == "every head of the first layer is a sink");
  CHECK(reason(table, 2, "phi").find("alike") != std::string::npos);
  for (const char* column : {"p_later", "base", "lift", "phi", "phi_adjacent"})
    CHECK(reason(table, 3, column) == "the model has one layer");
  CHECK(reason(table, 4, "lift") == "no sink in a later layer");
}

TEST_CASE("[tables] sink tokens: a row per layer and kind") {
  std::vector<LayerSinks> layers(2);
  layers[1] = {
      .layer = 1, .sink_keys = {4, 3, 2, 1}, .mass = {0.5, 0.25, 0.125, 0.125}, .kind_tokens = {1, 2, 3, 4}};
  const Table table = tables::sink_tokens_table(layers);
  check_form(table, "sink_tokens", {"layer", "kind"});
  REQUIRE(table.rows.size() == 2 * token_kind_count);
  const size_t newline = token_kind_count + static_cast<size_t>(TokenKind::newline);
  CHECK(cell(table, newline, "layer") == Cell{int64_t{1}});
  CHECK(cell(table, newline, "kind") == Cell{std::string("newline")});
  CHECK(cell(table, newline, "tokens") == Cell{int64_t{2}});
  CHECK(cell(table, newline, "sink_keys") == Cell{int64_t{3}});
  CHECK(cell(table, newline, "mass") == Cell{0.25});
  CHECK(unit(table, "tokens") == "tokens");
  CHECK(unit(table, "sink_keys") == "keys");
}
