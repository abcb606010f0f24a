// SPDX-License-Identifier: MIT
#include "kvviz/tables/simulate_tables.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

/// The rows of a table, by column name. Checks that keys name rows and that what is missing has a reason.
std::vector<std::map<std::string, Cell>> rows_of(const Table& table) {
  INFO(table.name);
  validate(table);
  std::vector<std::map<std::string, Cell>> rows;
  std::vector<std::vector<Cell>> keys;
  for (const auto& row : table.rows) {
    rows.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) rows.back()[table.columns[i].name] = row[i];
    std::vector<Cell> key;
    for (const std::string& column : table.key) key.push_back(rows.back().at(column));
    CHECK(std::ranges::find(keys, key) == keys.end());
    keys.push_back(std::move(key));
    for (const Cell& cell : row)
      if (const auto* null = std::get_if<Null>(&cell)) CHECK_FALSE(null->reason.empty());
  }
  return rows;
}

PolicyOutcome outcome(const std::string& policy, const std::string& budget, double loss) {
  PolicyOutcome o;
  o.policy = policy, o.budget = budget, o.budget_tokens = 100 * std::stod(budget);
  o.texts = 2, o.predictions = 50;
  o.processed = 200, o.demands = 40, o.hits = 30, o.retained_sinks = 2, o.retained_heavy = 5;
  o.delta_nll = loss, o.delta_nll_se = 0.01, o.delta_ppl = 20 * loss, o.delta_ppl_se = 0.2;
  o.ppl = 20 + o.delta_ppl;
  o.evictions = policy == "full" ? 0 : 10;
  o.full_bytes = 1000, o.resident_bytes = policy == "full" ? 1000 : 1000 * std::stod(budget);
  o.heads = {{0, 0, 0.9, 0.95, 0.1, kNone}, {0, 1, 0.8, 0.9, 0.2, 1}};
  o.sets = {{0, 0, 0, 10, 90, 11, 10, 1, kNone}, {0, 0, 1, 10, 90, 11, 10, kNone, 0.5}};
  return o;
}

SimulationStudy study() {
  SimulationStudy s{.layers = 1, .query_heads = 2, .kv_heads = 1, .texts = 2, .tokens = 200, .full_ppl = 20};
  s.outcomes = {outcome("full", "1.0", 0),      outcome("window", "0.1", 3),   outcome("window", "0.5", 2),
                outcome("h2o", "0.1", 0.2),     outcome("h2o", "0.5", 0.1),    outcome("tova", "0.1", 0.1),
                outcome("tova", "0.5", 0.15),   outcome("oracle", "0.1", 0.1), outcome("oracle", "0.5", 0.01),
                outcome("h2o:mask", "0.1", 0.2)};
  s.outcomes[7].clairvoyant = s.outcomes[8].clairvoyant = true;
  s.outcomes[9].resident_bytes = 1000;
  mark_frontier(s.outcomes);
  return s;
}

}  // namespace

TEST_CASE("[simulate tables] by budget: from the least loss to the greatest, the best of each budget named") {
  const Table table = tables::simulate_by_budget_table(study());
  CHECK(table.name == "simulate_by_budget");
  const auto rows = rows_of(table);
  std::vector<std::string> policies, remarks;
  for (const auto& row : rows) {
    policies.push_back(std::get<std::string>(row.at("policy")));
    remarks.push_back(std::get<std::string>(row.at("remark")));
  }
  CHECK(policies == std::vector<std::string>{"tova", "h2o", "h2o:mask", "window", "oracle"});
  CHECK(remarks ==
        std::vector<std::string>{"best at 0.1", "best at 0.5", "saves no memory", "", "reads the future"});
  CHECK(*number_in(rows[0].at("delta_ppl_0_1")) == doctest::Approx(10));
  CHECK(*number_in(rows[0].at("se_0_5")) == doctest::Approx(1.15));
  CHECK(reason_of(rows[0].at("recall_0_1")) == "not measured");
  CHECK(reason_of(rows[2].at("delta_ppl_0_5")) == "not simulated");
  CHECK(table.columns[2].unit == "%");
}

TEST_CASE("[simulate tables] outcomes: a row per policy and budget, reasons where there is no number") {
  SimulationStudy s = study();
  s.outcomes[1].delta_nll_se = kNone;
  s.outcomes[2].predictions = 0, s.outcomes[2].nll = s.outcomes[2].delta_nll_se = kNone;
  const auto rows = rows_of(tables::simulate_table(s));
  REQUIRE(rows.size() == 10);
  CHECK(*number_in(rows[4].at("delta_ppl_percent")) == doctest::Approx(10));
  CHECK(rows[7].at("clairvoyant") == Cell(int64_t{1}));
  CHECK(rows[7].at("on_frontier") == Cell(int64_t{0}));
  CHECK(rows[5].at("on_frontier") == Cell(int64_t{1}));
  CHECK(rows[3].at("on_frontier") == Cell(int64_t{0}));
  CHECK(reason_of(rows[1].at("delta_nll_se")) == "fewer than two texts, or blocks of a single text");
  CHECK(reason_of(rows[2].at("nll")) == "no prediction counts");
  CHECK(reason_of(rows[2].at("delta_nll_se")) == "no prediction counts");
  CHECK(reason_of(rows[1].at("recall")) == "not measured");
  CHECK(*number_in(rows[1].at("resident_bytes")) == 100);
  const auto counters = rows_of(tables::simulate_counters_table(s));
  REQUIRE(counters.size() == 10);
  CHECK(counters[3].at("processed") == Cell(int64_t{200}));
  CHECK(counters[3].at("demands") == Cell(int64_t{40}));
  CHECK(counters[3].at("hits") == Cell(int64_t{30}));
  CHECK(counters[3].at("misses") == Cell(int64_t{10}));
  CHECK(counters[3].at("retained_sinks") == Cell(int64_t{2}));
  CHECK(counters[3].at("retained_heavy") == Cell(int64_t{5}));
}

TEST_CASE("[simulate tables] texts: a row per text, policy and budget") {
  SimulationStudy s = study();
  s.text_outcomes = {{.text = 3,
                      .name = "article 3, Lighthouse",
                      .tokens = 100,
                      .policy = "h2o",
                      .budget = "0.1",
                      .predictions = 20,
                      .nll = 3,
                      .delta_nll = 0.5,
                      .delta_ppl_percent = 65,
                      .kl = 0.25,
                      .top1_agreement = 0.75,
                      .evictions = 7,
                      .resident_bytes = 512}};
  const Table table = tables::simulate_texts_table(s);
  CHECK(table.key == std::vector<std::string>{"text", "policy", "budget"});
  const auto rows = rows_of(table);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].at("text") == Cell(int64_t{3}));
  CHECK(rows[0].at("name") == Cell(std::string("article 3, Lighthouse")));
  CHECK(rows[0].at("predictions") == Cell(int64_t{20}));
  CHECK(*number_in(rows[0].at("delta_nll")) == 0.5);
  CHECK(*number_in(rows[0].at("delta_ppl_percent")) == 65);
  CHECK(*number_in(rows[0].at("resident_bytes")) == 512);
  CHECK(reason_of(rows[0].at("delta_nll_se")) == "fewer than two blocks of 32 predictions");
  CHECK(reason_of(rows[0].at("recall")) == "not measured");
}

TEST_CASE("[simulate tables] heads and sets: a row each for every outcome") {
  const auto heads = rows_of(tables::simulate_heads_table(study()));
  REQUIRE(heads.size() == 20);
  CHECK(heads[1].at("head") == Cell(int64_t{1}));
  CHECK(*number_in(heads[1].at("bound")) == 0.9);
  CHECK(reason_of(heads[0].at("demand_hit_rate")) == "no key is demanded");
  const auto sets = rows_of(tables::simulate_sets_table(study()));
  REQUIRE(sets.size() == 20);
  CHECK(sets[1].at("first_head") == Cell(int64_t{1}));
  CHECK(reason_of(sets[1].at("sink_recall")) == "the set has no sink key");
  CHECK(reason_of(sets[0].at("heavy_recall")) == "the set has no heavy hitter");
}

TEST_CASE("[simulate tables] targets: no budget, or none smaller, is said") {
  const std::vector<TargetBudget> targets{{"h2o", "delta_ppl<1%", 64, 0.9, 1.1},
                                          {"lru", "delta_ppl<1%", 1, 0.9, kNone},
                                          {"window", "delta_ppl<1%", kNone, kNone, kNone}};
  const auto rows = rows_of(tables::targets_table(targets));
  CHECK(*number_in(rows[0].at("budget_tokens")) == 64);
  CHECK(*number_in(rows[0].at("next_value")) == 1.1);
  CHECK(reason_of(rows[1].at("next_value")) == "the smallest budget there is");
  CHECK(reason_of(rows[2].at("budget_tokens")) == "no budget stays within the limit");
  CHECK(reason_of(rows[2].at("next_value")) == "no budget stays within the limit");
}

TEST_CASE("[simulate tables] needle: a row per cell, and per set of keys") {
  const std::vector<NeedleCell> cells{
      {"h2o", "0.25", 0, 64, -3, -1, -5, 0.5, {{0, 0, 0, 0.25}, {1, 0, 0, 0.75}}},
      {"h2o", "0.25", 0.5, 64, -2, -1, kNone, 0.5, {{0, 0, 0, 0.5}, {0, 1, 2, 0.5}}}};
  const auto rows = rows_of(tables::needle_table(cells));
  REQUIRE(rows.size() == 2);
  CHECK(*number_in(rows[0].at("log_p_absent")) == -5);
  CHECK(reason_of(rows[1].at("log_p_absent")) == "not measured");
  const auto sets = rows_of(tables::needle_sets_table(cells));
  REQUIRE(sets.size() == 4);
  CHECK(*number_in(sets[1].at("layer")) == 1);
  CHECK(*number_in(sets[1].at("survival")) == 0.75);
  CHECK(*number_in(sets[3].at("kv_head")) == 1);
  CHECK(*number_in(sets[3].at("first_head")) == 2);
}
