// SPDX-License-Identifier: MIT
#include "kvviz/tables/compress_tables.hpp"

#include <doctest/doctest.h>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

CompressionStudy study() {
  CompressionStudy s{.layers = 1, .query_heads = 2, .kv_heads = 1, .texts = 1, .tokens = 20};
  s.when = "after the prefix";
  s.full_ppl = 20;
  s.outcomes = {{.method = "q4_0",
                 .family = "q4_0",
                 .texts = 1,
                 .predictions = 9,
                 .ppl = 21,
                 .delta_ppl = 1,
                 .payload_bytes = 40,
                 .metadata_bytes = 10,
                 .workspace_bytes = 160,
                 .f16_bytes = 160,
                 .tokens = 10,
                 .layers = {{.layer = 0, .key_error = 0.1, .bytes = 50, .head_output_error = {0.2, 0.4}}}},
                {.method = "f16",
                 .family = "f16",
                 .ppl = 20,
                 .delta_ppl = 0,
                 .payload_bytes = 160,
                 .f16_bytes = 160,
                 .tokens = 10}};
  mark_frontier(s.outcomes);
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

TEST_CASE("[compress tables] from the most bytes to the fewest, loss in percent of the full perplexity") {
  const Table table = tables::compress_table(study());
  REQUIRE(table.rows.size() == 2);
  CHECK(cell(table, 0, "method") == Cell(std::string("f16")));
  CHECK(number(table, 1, "bytes_per_token") == 5);
  CHECK(number(table, 1, "ratio") == doctest::Approx(3.2));
  CHECK(number(table, 1, "resident_bytes") == 210);
  CHECK(number(table, 1, "delta_ppl_percent") == doctest::Approx(5));
  CHECK(std::holds_alternative<Null>(cell(table, 1, "delta_ppl_percent_se")));
  CHECK(std::holds_alternative<Null>(cell(table, 1, "code_seconds")));
}

TEST_CASE("[compress tables] a row a layer, a row a head") {
  const Table layers = tables::compress_layers_table(study());
  REQUIRE(layers.rows.size() == 1);
  CHECK(number(layers, 0, "key_error") == 0.1);
  CHECK(number(layers, 0, "bytes") == 50);
  const Table heads = tables::compress_heads_table(study());
  REQUIRE(heads.rows.size() == 2);
  CHECK(number(heads, 1, "head") == 1);
  CHECK(number(heads, 1, "output_error") == 0.4);
}

TEST_CASE("[compress tables] a row a text and method; too few predictions for an error") {
  CompressionStudy s = study();
  s.by_text = {{.text = 2, .name = "a", .outcome = 1, .tokens = 20, .predictions = 9, .nll = 3, .kl = 0},
               {.text = 4, .name = "b", .outcome = 0, .tokens = 30, .predictions = 14, .bytes_per_token = 5}};
  const Table texts = tables::compress_texts_table(s);
  CHECK(texts.key == std::vector<std::string>{"text", "method"});
  REQUIRE(texts.rows.size() == 2);
  CHECK(number(texts, 0, "text") == 2);
  CHECK(cell(texts, 0, "method") == Cell(std::string("f16")));
  CHECK(cell(texts, 1, "method") == Cell(std::string("q4_0")));
  CHECK(cell(texts, 1, "name") == Cell(std::string("b")));
  CHECK(number(texts, 1, "predictions") == 14);
  CHECK(number(texts, 0, "nll") == 3);
  CHECK(number(texts, 1, "bytes_per_token") == 5);
  CHECK(cell(texts, 0, "delta_nll_se") == Cell(Null{"fewer than two blocks of 32 predictions"}));
}

TEST_CASE("[compress tables] the smallest within a loss") {
  const CompressionStudy s = study();
  CHECK(smallest_within(s, 6)->method == "q4_0");
  CHECK(smallest_within(s, 5)->method == "f16");
  CHECK(smallest_within(s, 0) == nullptr);
}

TEST_CASE("[compress tables] of a cache file: errors first, and no loss, with the reason") {
  CompressionStudy s = study();
  s.when = "";
  const Table table = tables::compress_table(s);
  CHECK(table.columns.at(3).name == "key_error");
  CHECK(table.columns.at(4).name == "value_error");
  CHECK(std::get<Null>(cell(table, 0, "kl")).reason.find("cache file") != std::string::npos);
}

TEST_CASE("[compress tables] a recommendation, and KIVI's table") {
  const Recommendation r{.layers = {{.layer = 0, .method = "q4_0", .bytes_per_token = 5, .delta_nll = 0.1}}};
  const Table layers = tables::compress_recommendation_table(r);
  CHECK(cell(layers, 0, "method") == Cell(std::string("q4_0")));
  CHECK(number(layers, 0, "delta_nll_alone") == 0.1);
  KiviStudy kivi{.bits = 2, .group = 32};
  kivi.means = {{.side = "keys", .axis = "token", .error = 13.67, .weight_error = 47, .output_error = 50}};
  kivi.layers = {{.side = "keys", .axis = "token", .layer = 3, .error = 1}};
  CHECK(number(tables::kivi_table(kivi), 0, "attention_weight_error") == 47);
  CHECK(number(tables::kivi_layers_table(kivi), 0, "layer") == 3);
}
