// SPDX-License-Identifier: MIT
#include "kvviz/tables/tucker_tables.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

TuckerPart part(int layer, Half half) {
  return {.layer = layer,
          .half = half,
          .caches = 2,
          .sizes = {2, 10, 4},
          .asked = {2, 99, 2},
          .ranks = {2, 4, 2},
          .best = {1, 3, 3},
          .elements = 160,
          .stored = 2.0 * (16 + 4 + 40 + 8),
          .energy = 4,
          .lost = 1,
          .initial = 1.44,
          .best_lost = 1.96,
          .sweeps = 3,
          .energies = {std::vector<double>{3, 1}, {2, 1, 1, 0}, {4, 0, 0, 0}}};
}

TuckerStudy study(bool has_model) {
  TuckerStudy s{.has_rope = true, .has_model = has_model, .layers = 2};
  for (int layer = 0; layer < 2; ++layer)
    for (const Half half : {Half::key, Half::value}) s.parts.push_back(part(layer, half));
  TuckerOutcome row{.family = "tucker", .ranks = {2, 4, 2}, .key_error = 0.5, .value_error = 0.25};
  row.outcome = {.payload_bytes = 30,
                 .metadata_bytes = 10,
                 .workspace_bytes = 80,
                 .f16_bytes = 160,
                 .tokens = 10,
                 .layers = {{.layer = 1, .head_output_error = {0.25, 0.5}}}};
  if (has_model) {
    row.outcome.ppl = 22, row.outcome.delta_ppl = 2;
    s.sensitivity = {{.ppl = 21, .delta_ppl = 1, .layers = {{.key_error = 0.1}, {.key_error = 0}}},
                     {.ppl = 24, .delta_ppl = 4, .layers = {{.key_error = 0}, {.key_error = 0.2}}}};
  }
  s.outcomes = {row};
  row.family = "svd", row.ranks = {}, row.step = 3;
  s.sweep = {row};
  return s;
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

}  // namespace

TEST_CASE(
    "[tucker tables] outcomes: ratio against f16, loss of the perplexity as it was; why there is none") {
  const Table with = tables::tucker_table(study(true)), without = tables::tucker_table(study(false));
  CHECK(number(with, 0, "ratio") == 4);
  CHECK(number(with, 0, "bytes_per_token") == 4);
  CHECK(number(with, 0, "delta_ppl_percent") == doctest::Approx(10));
  CHECK(number(with, 0, "rank_tokens") == 4);
  CHECK(number(with, 0, "resident_bytes") == 120);
  CHECK(number(without, 0, "key_error") == 0.5);
  CHECK(reason_of(cell(without, 0, "delta_ppl_percent")) == "a cache file has no model and no queries");
  CHECK(reason_of(cell(without, 0, "output_error")) == "a cache file has no model and no queries");
  const Table sweep = tables::tucker_sweep_table(study(true));
  CHECK(number(sweep, 0, "step") == 3);
  CHECK(reason_of(cell(sweep, 0, "rank_heads")) == "each head has a rank of its own");
}

TEST_CASE("[tucker tables] query heads: errors of their outputs at the ranks asked for alone") {
  const Table heads = tables::tucker_heads_table(study(true));
  REQUIRE(heads.rows.size() == 2);
  CHECK(heads.key == std::vector<std::string>{"family", "keys", "layer", "head"});
  CHECK(cell(heads, 1, "family") == Cell(std::string("tucker")));
  CHECK(number(heads, 1, "layer") == 1);
  CHECK(number(heads, 1, "head") == 1);
  CHECK(number(heads, 1, "output_error") == 0.5);
}

TEST_CASE("[tucker tables] a row a text, family and basis") {
  TuckerStudy s = study(true);
  s.outcomes.push_back(s.outcomes.front());
  s.outcomes.back().family = "svd", s.outcomes.back().basis = KeyBasis::pre_rope;
  s.by_text = {{.text = 0, .name = "a", .outcome = 0}, {.text = 0, .name = "a", .outcome = 1, .kl = 0.5}};
  const Table texts = tables::tucker_texts_table(s);
  CHECK(texts.key == std::vector<std::string>{"text", "family", "keys"});
  REQUIRE(texts.rows.size() == 2);
  CHECK(cell(texts, 0, "keys") == Cell(std::string("post_rope")));
  CHECK(cell(texts, 1, "family") == Cell(std::string("svd")));
  CHECK(cell(texts, 1, "keys") == Cell(std::string("pre_rope")));
  CHECK(number(texts, 1, "kl") == 0.5);
}

TEST_CASE("[tucker tables] keys of a model without RoPE are neither before nor after it") {
  TuckerStudy s = study(true);
  s.has_rope = false;
  for (const Table& table : {tables::tucker_table(s), tables::tucker_sweep_table(s),
                             tables::tucker_ranks_table(s), tables::tucker_heads_table(s)})
    CHECK(cell(table, 0, "keys") == Cell(std::string("no RoPE")));
}

TEST_CASE("[tucker tables] layers: errors of pooled energies, sizes as means over the caches") {
  const Table table = tables::tucker_layers_table(study(true));
  REQUIRE(table.rows.size() == 4);
  CHECK(cell(table, 3, "half") == Cell(std::string("value")));
  CHECK(number(table, 3, "layer") == 1);
  CHECK(number(table, 0, "error") == 0.5);
  CHECK(number(table, 0, "initial_error") == doctest::Approx(0.6));
  CHECK(number(table, 0, "best_error") == doctest::Approx(0.7));
  CHECK(number(table, 0, "elements") == 80);
  CHECK(number(table, 0, "stored") == 68);
  CHECK(number(table, 0, "stored_bytes") == 136);
  CHECK(number(table, 0, "ratio") == doctest::Approx(80.0 / 68));
  CHECK(number(table, 0, "tokens") == 10);
  CHECK(number(table, 0, "rank_tokens") == 4);
  CHECK(number(table, 0, "best_rank_channels") == 3);
}

TEST_CASE("[tucker tables] error curves at a ladder of ranks, of all layers and of each") {
  TuckerStudy s = study(true);
  s.other_keys = {part(0, Half::key)};
  const Table ranks = tables::tucker_ranks_table(s);
  // Keys in two bases and values: 2 ranks of the heads, 4 of the tokens, 4 of the channels.
  REQUIRE(ranks.rows.size() == 3 * 10);
  CHECK(cell(ranks, 2, "mode") == Cell(std::string("tokens")));
  CHECK(number(ranks, 2, "rank") == 1);
  CHECK(number(ranks, 2, "error") == doctest::Approx(std::sqrt(0.5)));
  CHECK(cell(ranks, 0, "keys") == Cell(std::string("post_rope")));
  CHECK(cell(ranks, 10, "keys") == Cell(std::string("pre_rope")));
  CHECK(cell(ranks, 20, "half") == Cell(std::string("value")));
  const Table layers = tables::tucker_layer_ranks_table(s);
  REQUIRE(layers.rows.size() == 4 * 10);
  CHECK(number(layers, 1, "error") == 0);
  CHECK(number(layers, 0, "error") == doctest::Approx(0.5));
}

TEST_CASE("[tucker tables] sensitivity: a layer's own errors beside the loss it causes") {
  const Table table = tables::tucker_sensitivity_table(study(true));
  REQUIRE(table.rows.size() == 2);
  CHECK(number(table, 1, "key_error") == 0.2);
  CHECK(number(table, 0, "delta_ppl_percent") == doctest::Approx(5));
  CHECK(number(table, 1, "delta_ppl_percent") == doctest::Approx(20));
}

TEST_CASE("[tucker tables] ranks in words") {
  CHECK(tables::ranks_text({std::vector<double>{4, 4}, {16, 16}, {8, 8}}) == "4 x 16 x 8");
  CHECK(tables::ranks_text({std::vector<double>{1, 4}, {16, 16}, {8, 7}}) == "1 to 4 x 16 x 7 to 8");
}
