// SPDX-License-Identifier: MIT
#include "kvviz/tables/prune_tables.hpp"

#include <doctest/doctest.h>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

CacheOutcome outcome(const std::string& name, double delta_nll) {
  return {.method = name,
          .summary = "what it is",
          .texts = 1,
          .predictions = 9,
          .delta_nll = delta_nll,
          .ppl = 20 + 20 * delta_nll,
          .delta_ppl = 20 * delta_nll,
          .kl = delta_nll * delta_nll,
          .payload_bytes = 60,
          .metadata_bytes = 10,
          .f16_bytes = 160,
          .tokens = 10,
          .layers = {{.layer = 0, .output_error = 0.5, .bytes = 70, .head_output_error = {0.4, 0.6}}}};
}

const Cell& cell(const Table& table, size_t row, const std::string& name) {
  for (size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == name) return table.rows.at(row).at(c);
  FAIL("no column ", name);
  return table.rows.at(0).at(0);
}

double number(const Table& table, size_t row, const std::string& name) {
  return number_in(cell(table, row, name)).value();
}

SweepStudy sweep(SweepKind kind) {
  SweepStudy s{.kind = kind, .layers = 4, .full_ppl = 20, .metrics = {"rms", "flat"}};
  const double losses[] = {0.3, -0.1, 0.2, 0.05};
  for (int i = 0; i < 4; ++i) {
    SweepItem item{.layer = i, .outcome = outcome("layer:" + std::to_string(i), losses[i])};
    item.metrics = {losses[i] * 2, 5};
    if (kind == SweepKind::channels) item.half = Half::value, item.first_channel = 4, item.last_channel = 7;
    if (kind == SweepKind::heads) item.head = 3 - i;
    s.items.push_back(item);
  }
  s.correlations = correlations_of(s);
  return s;
}

}  // namespace

TEST_CASE("[prune tables] a row a removal; what was not timed says why") {
  PruningStudy s{.layers = 1, .texts = 1, .full_ppl = 20};
  s.variants = {{.outcome = outcome("channels:1", 0.1), .key_zeros = 0.25},
                {.outcome = outcome("tokens:0", 0.2), .smaller_store = true, .steps = 4, .time = {1, 0.5, 2}},
                {.outcome = outcome("tokens:1", 0.2), .smaller_store = true}};
  const Table table = tables::prune_table(s);
  CHECK(number(table, 0, "saved_percent") == doctest::Approx(100 * 90 / 160.0));
  CHECK(number(table, 0, "delta_ppl_percent") == doctest::Approx(10));
  CHECK(number(table, 0, "key_zeros_percent") == 25);
  CHECK(number(table, 0, "bytes_per_token") == 7);
  CHECK(std::get<Null>(cell(table, 0, "decode_ms")).reason.find("every KV head") != std::string::npos);
  CHECK(number(table, 1, "decode_ms") == 1);
  CHECK(number(table, 1, "decode_q3_ms") == 2);
  CHECK(number(table, 1, "decode_steps") == 4);
  CHECK(std::get<Null>(cell(table, 2, "decode_ms")).reason.find("--no-timings") != std::string::npos);
  const Table layers = tables::prune_layers_table(s);
  CHECK(layers.rows.size() == 3);
  CHECK(number(layers, 0, "output_error") == 0.5);
  CHECK(number(layers, 0, "bytes") == 70);
  CHECK(number(table, 0, "resident_bytes") == 70);
  s.variants[0].outcome.workspace_bytes = 5;
  CHECK(number(tables::prune_table(s), 0, "resident_bytes") == 75);
  const Table heads = tables::prune_heads_table(s);
  REQUIRE(heads.rows.size() == 6);
  CHECK(cell(heads, 5, "removed") == Cell(std::string("tokens:1")));
  CHECK(number(heads, 5, "head") == 1);
  CHECK(number(heads, 5, "output_error") == 0.6);
}

TEST_CASE("[prune tables] times whose quartiles meet do not differ") {
  CHECK(overlap({2, 1, 3}, {4, 3, 5}));
  CHECK(overlap({4, 1, 9}, {4, 3, 5}));
  CHECK_FALSE(overlap({2, 1, 2.5}, {4, 3, 5}));
  CHECK_FALSE(overlap({4, 3, 5}, {2, 1, 2.5}));
  CHECK_FALSE(overlap({}, {4, 3, 5}));
}

TEST_CASE("[prune tables] a sweep, the least loss first, with its metrics") {
  const Table table = tables::prune_sweep_table(sweep(SweepKind::heads));
  REQUIRE(table.rows.size() == 4);
  CHECK(number(table, 0, "layer") == 1);
  CHECK(number(table, 0, "head") == 2);
  CHECK(number(table, 0, "rms") == doctest::Approx(-0.2));
  CHECK(number(table, 3, "delta_nll") == 0.3);
  const Table channels = tables::prune_sweep_table(sweep(SweepKind::channels));
  CHECK(cell(channels, 0, "side") == Cell(std::string("values")));
  CHECK(number(channels, 0, "first_channel") == 4);
  CHECK(number(channels, 0, "last_channel") == 7);
}

TEST_CASE("[prune tables] correlations: with the loss, with KL, none for what is the same for all") {
  const Table table = tables::prune_metrics_table(sweep(SweepKind::layers));
  REQUIRE(table.rows.size() == 2);
  CHECK(cell(table, 0, "metric") == Cell(std::string("rms")));
  CHECK(number(table, 0, "rho") == doctest::Approx(1));
  CHECK(number(table, 0, "p_value") == doctest::Approx(2.0 / 24));
  // Ranks of the squares 0.09, 0.01, 0.04, 0.0025 are 4, 2, 3, 1; of the losses 4, 1, 3, 2.
  CHECK(number(table, 0, "rho_kl") == doctest::Approx(0.8));
  CHECK(number(table, 0, "pairs") == 4);
  CHECK(std::holds_alternative<Null>(cell(table, 1, "rho")));
  const SweepStudy study = sweep(SweepKind::layers);
  CHECK(best_correlation(study)->metric == "rms");
  CHECK(by_loss(study).front()->layer == 1);
}
