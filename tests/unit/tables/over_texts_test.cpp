// SPDX-License-Identifier: MIT
#include "kvviz/tables/over_texts.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/fields.hpp"

using namespace kvviz;
using namespace kvviz::tables;

namespace {

const OverTextsOptions kOptions{.ranges = {{"share"}},
                                .tables = {{.name = "layers", .kept = {"heads"}, .left_out = {"nearest"}},
                                           {.name = "outliers", .most_texts_first = true}}};

/// A text of `tokens` tokens: sizes and shares grow with it, layer 1 has no rank where it is short.
Result result_of(double size, int64_t count, double share) {
  Result result{.command = "analyze"};
  result.summary = {{"layers", int64_t{2}, "", "Layers"},
                    {"tokens", count, "tokens", "Tokens"},
                    {"size", size, "nats", "Size"},
                    {"share", share, "", "Share"},
                    {"basis", std::string("post"), "", "Basis"}};
  result.tables = {
      {.name = "layers",
       .columns = {{"layer", "", ColumnType::integer},
                   {"side", "", ColumnType::text},
                   {"heads", "", ColumnType::integer},
                   {"k_rms"},
                   {"rank"},
                   {"nearest", "", ColumnType::integer},
                   {"class", "", ColumnType::text}},
       .key = {"side", "layer"},
       .rows = {{int64_t{0}, std::string("keys"), int64_t{8}, size, 1.0, int64_t{1}, std::string("sink")},
                {int64_t{1}, std::string("keys"), int64_t{4}, 2 * size,
                 count < 10 ? Cell(Null{"too short"}) : Cell(3.0), int64_t{0}, std::string("local")}}},
      {.name = "tokens", .columns = {{"token"}}, .key = {"token"}, .rows = {{1.0}}}};
  return result;
}

Table outliers(std::initializer_list<int64_t> channels) {
  Table table{.name = "outliers", .columns = {whole("channel"), number("ratio")}, .key = {"channel"}};
  for (const int64_t channel : channels) table.rows.push_back({channel, static_cast<double>(channel)});
  return table;
}

Result over(const std::vector<Result>& results, const OverTextsOptions& options = kOptions) {
  OverTexts all(options);
  int64_t index = 0;
  for (const Result& result : results) {
    all.add({index, cat("text ", index), 10 * (index + 1)}, result);
    ++index;
  }
  Result sum{.command = "analyze"};
  all.put_into(sum);
  CHECK_NOTHROW(to_json(sum));
  return sum;
}

const Fact* fact(const Result& result, const std::string& key) {
  const auto at = std::ranges::find(result.summary, key, &Fact::key);
  return at == result.summary.end() ? nullptr : &*at;
}

double value(const Result& result, const std::string& key) {
  REQUIRE_MESSAGE(fact(result, key) != nullptr, key);
  return number_in(fact(result, key)->value).value();
}

const Table& table(const Result& result, const std::string& name) {
  const auto at = std::ranges::find(result.tables, name, &Table::name);
  REQUIRE_MESSAGE(at != result.tables.end(), name);
  return *at;
}

const Cell& cell(const Table& table, size_t row, const std::string& column) {
  const auto at = std::ranges::find(table.columns, column, &Column::name);
  REQUIRE_MESSAGE(at != table.columns.end(), column);
  return table.rows.at(row)[static_cast<size_t>(at - table.columns.begin())];
}

bool has_column(const Table& table, const std::string& column) {
  return std::ranges::find(table.columns, column, &Column::name) != table.columns.end();
}

size_t row_of(const Table& table, const std::string& fact) {
  const auto at = std::ranges::find(table.rows, Cell(fact), [](const auto& row) { return row[0]; });
  REQUIRE(at != table.rows.end());
  return static_cast<size_t>(at - table.rows.begin());
}

double number_at(const Table& table, size_t row, const std::string& column) {
  return number_in(cell(table, row, column)).value();
}

}  // namespace

TEST_CASE(
    "[over_texts] summary: means under their own names with standard errors; what all have alike stays") {
  const Result all = over({result_of(1, 8, 0.25), result_of(2, 12, 0.5), result_of(6, 12, 1)});
  CHECK(value(all, "texts") == 3);
  CHECK(value(all, "tokens_total") == 60);
  CHECK(value(all, "size") == 3);
  CHECK(value(all, "size_se") == doctest::Approx(std::sqrt(7.0 / 3)));  // variance (4 + 1 + 9) / 2
  CHECK(fact(all, "size")->unit == "nats");
  CHECK(value(all, "tokens") == doctest::Approx(32.0 / 3));
  CHECK(fact(all, "tokens_se") != nullptr);
  CHECK(fact(all, "layers")->value == Cell(int64_t{2}));
  CHECK(fact(all, "layers_se") == nullptr);
  CHECK(fact(all, "basis")->value == Cell(std::string("post")));
}

TEST_CASE("[over_texts] facts: n, mean, sd, se, Student's interval, least and greatest") {
  const Result all = over({result_of(1, 8, 0.25), result_of(2, 12, 0.5), result_of(6, 12, 1)});
  const Table& facts = table(all, "facts_over_texts");
  CHECK(facts.key == std::vector<std::string>{"fact"});
  CHECK(facts.rows.size() == 4);  // not the word
  const size_t row = row_of(facts, "size");
  CHECK(number_at(facts, row, "texts") == 3);
  CHECK(number_at(facts, row, "sd") == doctest::Approx(std::sqrt(7.0)));
  // t of 95 % and 2 degrees of freedom by hand: 0.95 sqrt(2 / (1 - 0.95^2))
  const double half = 0.95 * std::sqrt(2 / 0.0975) * std::sqrt(7.0 / 3);
  CHECK(number_at(facts, row, "ci95_low") == doctest::Approx(3 - half));
  CHECK(number_at(facts, row, "ci95_high") == doctest::Approx(3 + half));
  CHECK(number_at(facts, row, "min") == 1);
  CHECK(number_at(facts, row, "max") == 6);
  CHECK(cell(facts, row, "unit") == Cell(std::string("nats")));
  CHECK(number_at(facts, row_of(facts, "layers"), "sd") == 0);
}

TEST_CASE("[over_texts] one text: no spread, and the table says why") {
  const Result all = over({result_of(4, 12, 0.5)});
  CHECK(value(all, "size") == 4);
  CHECK(reason_of(fact(all, "size_se")->value) == "one text has no spread");
  const Table& facts = table(all, "facts_over_texts");
  CHECK(reason_of(cell(facts, row_of(facts, "size"), "ci95_low")) == "one text has no spread");
  CHECK(reason_of(cell(table(all, "layers_over_texts"), 0, "k_rms_sd")) == "fewer than two texts have it");
}

TEST_CASE("[over_texts] histograms: 20 bins, of shares from 0 to 1, else from the least to the greatest") {
  std::vector<Result> results;
  for (int i = 0; i <= 40; ++i) results.push_back(result_of(10 + i, i % 3, i / 40.0));
  const Table histograms = table(over(results), "fact_histograms");
  const auto counts = [&](const std::string& name) {
    std::vector<int64_t> all;
    for (size_t r = 0; r < histograms.rows.size(); ++r)
      if (cell(histograms, r, "fact") == Cell(name))
        all.push_back(std::get<int64_t>(cell(histograms, r, "texts")));
    return all;
  };
  std::vector<int64_t> even(20, 2);
  even.back() = 3;  // the last bin has both its edges
  CHECK(counts("share") == even);
  CHECK(counts("size") == even);
  CHECK(counts("tokens") == std::vector<int64_t>{14, 14, 13});  // whole numbers: 0, 1, 2
  CHECK(counts("layers").empty());
  CHECK(counts("basis").empty());
  const size_t first = row_of(histograms, "share"), size = row_of(histograms, "size");
  CHECK(number_at(histograms, first, "low") == 0);
  CHECK(number_at(histograms, first + 19, "high") == 1);
  CHECK(number_at(histograms, size, "low") == 10);
  CHECK(number_at(histograms, size + 19, "high") == doctest::Approx(50));
  CHECK(number_at(histograms, row_of(histograms, "tokens"), "low") == -0.5);
  // Edges of a share do not depend on the texts.
  const Table few = table(over({result_of(1, 12, 0.26), result_of(1, 12, 0.26)}), "fact_histograms");
  CHECK(number_at(few, 5, "low") == doctest::Approx(0.25));
  CHECK(number_at(few, 5, "texts") == 2);
  CHECK(few.rows.size() == 20);
}

TEST_CASE("[over_texts] texts: every fact of every text; words where they differ") {
  Result other = result_of(2, 12, 0.5);
  other.summary.back().value = std::string("pre");
  other.summary[2].value = Null{"a single token"};
  other.summary.push_back({"late", 7.5, "", "Only here"});
  const Result all = over({result_of(1, 8, 0.25), other, result_of(3, 12, 0.5)});
  const Table& texts = table(all, "texts");
  CHECK(texts.rows.size() == 3);
  CHECK(cell(texts, 1, "name") == Cell(std::string("text 1")));
  CHECK(cell(texts, 2, "tokens") == Cell(int64_t{30}));
  CHECK(reason_of(cell(texts, 1, "size")) == "a single token");
  CHECK(number_at(texts, 2, "size") == 3);
  CHECK(cell(texts, 1, "basis") == Cell(std::string("pre")));
  CHECK(number_at(texts, 1, "late") == 7.5);
  CHECK(reason_of(cell(texts, 0, "late")) == "not in the result of this text");
  CHECK(reason_of(cell(texts, 2, "late")) == "not in the result of this text");
  CHECK(fact(all, "basis") == nullptr);
  CHECK(value(all, "size") == 2);  // of the two that have it
  CHECK(number_at(table(all, "facts_over_texts"), 2, "texts") == 2);
  CHECK(value(all, "late") == 7.5);
}

TEST_CASE("[over_texts] a number that no text has stays null with the first text's reason") {
  Result none = result_of(1, 12, 0.5);
  none.summary[2].value = Null{"a single token"};
  const Result all = over({none, none});
  CHECK(reason_of(fact(all, "size")->value) == "a single token");
  CHECK(reason_of(fact(all, "size_se")->value) == "a single token");
}

TEST_CASE("[over_texts] rows by key: mean and sd of numbers, kept columns, no mean of names") {
  const Result all = over({result_of(1, 8, 0.5), result_of(2, 12, 0.5), result_of(6, 12, 0.5)});
  const Table& layers = table(all, "layers_over_texts");
  CHECK(layers.key == std::vector<std::string>{"side", "layer"});
  REQUIRE(layers.rows.size() == 2);
  CHECK(cell(layers, 1, "heads") == Cell(int64_t{4}));
  CHECK(cell(layers, 1, "texts") == Cell(int64_t{3}));
  CHECK(number_at(layers, 1, "k_rms") == 6);
  CHECK(number_at(layers, 1, "k_rms_sd") == doctest::Approx(2 * std::sqrt(7.0)));
  CHECK_FALSE(has_column(layers, "nearest"));
  CHECK_FALSE(has_column(layers, "class"));
  CHECK_FALSE(has_column(layers, "k_rms_n"));
  CHECK(number_at(layers, 1, "rank") == 3);  // in two of the three texts
  CHECK(number_at(layers, 1, "rank_n") == 2);
  CHECK(number_at(layers, 0, "rank_n") == 3);
  for (const Table& other : all.tables) CHECK(other.name != "tokens_over_texts");
}

TEST_CASE("[over_texts] rows that only some texts have: most texts first") {
  Result a = result_of(1, 8, 0.5), b = a, c = a;
  a.tables.push_back(outliers({9, 4}));
  b.tables.push_back(outliers({4, 7}));
  c.tables.push_back(outliers({7, 4}));
  const Table rows = table(over({a, b, c}), "outliers_over_texts");
  REQUIRE(rows.rows.size() == 3);
  const int64_t channels[] = {4, 7, 9}, texts[] = {3, 2, 1};
  for (size_t r = 0; r < 3; ++r) {
    CHECK(cell(rows, r, "channel") == Cell(channels[r]));
    CHECK(cell(rows, r, "texts") == Cell(texts[r]));
    CHECK(number_at(rows, r, "ratio") == static_cast<double>(channels[r]));
  }
}

TEST_CASE("[over_texts] tables of different columns are refused") {
  Result other = result_of(1, 8, 0.5);
  other.tables[0].columns[3].name = "v_rms";
  CHECK_THROWS_AS(over({result_of(1, 8, 0.5), other}), DataError);
}

TEST_CASE("[over_texts] of a table with rows by text and group: a mean with its interval for each group") {
  Result result;
  Table& rows = result.tables.emplace_back(Table{
      .name = "all_texts",
      .columns = {whole("text"), word("policy"), word("name"), number("kl", "nats"), number("kl_se", "nats")},
      .key = {"text", "policy"},
      .rows = {}});
  const std::vector<double> a{1, 2, 4, 9}, b{5, 5, 5, 5};
  for (size_t i = 0; i < 4; ++i) {
    const auto text = static_cast<int64_t>(i);
    rows.rows.push_back({text, std::string("a"), std::string("t"), a[i], 0.1});
    rows.rows.push_back({text, std::string("b"), std::string("t"), b[i], 0.1});
  }
  add_over_texts(result, "all_texts");
  const Table& facts = result.tables.at(1);
  CHECK(facts.name == "facts_over_texts");
  CHECK(facts.key == std::vector<std::string>{"policy", "fact"});
  REQUIRE(facts.rows.size() == 2);  // kl of a and of b: no standard errors, no words
  CHECK(std::get<std::string>(facts.rows[0][0]) == "a");
  // Mean 4, sd sqrt(38 / 3), Student's t of 3 degrees of freedom at 97.5 % 3.182446.
  const double se = std::sqrt(38.0 / 3) / 2;
  CHECK(number_at(facts, 0, "mean") == doctest::Approx(4));
  CHECK(number_at(facts, 0, "ci95_low") == doctest::Approx(4 - 3.182446 * se).epsilon(1e-6));
  CHECK(number_at(facts, 0, "ci95_high") == doctest::Approx(4 + 3.182446 * se).epsilon(1e-6));
  CHECK(number_at(facts, 1, "ci95_low") == 5);
  const Table& bins = result.tables.at(2);
  CHECK(bins.key == std::vector<std::string>{"policy", "fact", "bin"});
  double texts = 0;
  for (size_t row = 0; row < bins.rows.size(); ++row) texts += number_at(bins, row, "texts");
  CHECK(texts == 4);  // b is the same in all texts
  add_over_texts(result, "another");
  CHECK(result.tables.size() == 3);
  Result few;
  few.tables.push_back(result.tables.front());
  few.tables.front().rows.resize(2);
  add_over_texts(few, "all_texts");
  CHECK(few.tables.size() == 1);
}
