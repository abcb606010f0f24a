// SPDX-License-Identifier: MIT
#include "kvviz/report/comparison.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

Cell number_or_null(const Fact* fact) {
  if (fact == nullptr) return Null{"not in this result"};
  if (const auto number = number_in(fact->value)) return *number;
  if (std::holds_alternative<std::string>(fact->value)) return Null{"a word, not a number"};
  return Null{reason_of(fact->value)};
}

Cell difference(const Cell& a, const Cell& b) {
  const auto x = number_in(a), y = number_in(b);
  if (x && y) return *y - *x;
  return Null{"not a number in both results"};
}

Cell difference_error(const Result& a, const Result& b, const std::string& key) {
  const Fact *x = find_fact(a, key + "_se"), *y = find_fact(b, key + "_se");
  if (x == nullptr || y == nullptr) return Null{"no standard error in these results"};
  const auto se_a = number_in(x->value), se_b = number_in(y->value);
  if (!se_a || !se_b) return Null{"no standard error in one of the results"};
  return std::hypot(*se_a, *se_b);
}

}  // namespace

void require_comparable(const Result& a, const Result& b) {
  require(a.command == b.command, "the results come from different commands, ", a.command, " and ", b.command,
          "; compare two of the same");
  const Fact *x = find_fact(a, "metric"), *y = find_fact(b, "metric");
  if (x == nullptr || y == nullptr) return;
  require(x->value == y->value, "the results have different metrics, ", key_text(x->value), " and ",
          key_text(y->value),
          "; their numbers cannot be compared. Run one of them again with the other's --metric");
}

Table compare_summaries(const Result& a, const Result& b) {
  Table table{.name = "comparison",
              .columns = {{"fact", "", ColumnType::text},
                          {"a"},
                          {"b"},
                          {"difference"},
                          {"difference_se"},
                          {"label", "", ColumnType::text}},
              .key = {"fact"}};
  for (const Fact& fact : a.summary) {
    const Fact* other = find_fact(b, fact.key);
    if (fact.key.ends_with("_se") || std::holds_alternative<std::string>(fact.value)) continue;
    const Cell x = number_or_null(&fact), y = number_or_null(other);
    table.rows.push_back({fact.key, x, y, difference(x, y), difference_error(a, b, fact.key), fact.label});
  }
  for (const Fact& fact : b.summary) {
    if (fact.key.ends_with("_se") || std::holds_alternative<std::string>(fact.value)) continue;
    if (find_fact(a, fact.key) != nullptr) continue;
    const Cell x = number_or_null(nullptr), y = number_or_null(&fact);
    table.rows.push_back({fact.key, x, y, difference(x, y), difference_error(a, b, fact.key), fact.label});
  }
  return table;
}

Table compare_tables(const Table& a, const Table& b) {
  require(a.key == b.key, "the tables ", a.name, " of the two results have different keys");
  Table table{.name = "comparison_" + a.name, .key = a.key};
  const auto key_a = key_columns(a), key_b = key_columns(b);
  for (const size_t column : key_a) table.columns.push_back(a.columns[column]);
  std::vector<std::pair<size_t, size_t>> numbers;
  for (size_t i = 0; i < a.columns.size(); ++i) {
    const Column& column = a.columns[i];
    const auto at = column_of(b, column.name);
    if (!at || std::ranges::count(a.key, column.name) > 0) continue;
    const Column& other = b.columns[*at];
    if (column.type == ColumnType::text || other.type == ColumnType::text) continue;
    numbers.emplace_back(i, *at);
    table.columns.push_back({column.name + "_a", column.unit, column.type});
    table.columns.push_back({column.name + "_b", other.unit, other.type});
  }
  std::map<std::vector<std::string>, const std::vector<Cell>*> rows;
  for (const auto& row : b.rows) rows.emplace(key_texts(row, key_b), &row);
  const auto name_a = column_of(a, "name"), name_b = column_of(b, "name");
  for (const auto& row : a.rows) {
    const auto match = rows.find(key_texts(row, key_a));
    if (match == rows.end()) continue;
    if (name_a && name_b && row[*name_a] != (*match->second)[*name_b]) continue;
    std::vector<Cell> cells;
    for (const size_t column : key_a) cells.push_back(row[column]);
    for (const auto& [x, y] : numbers) {
      cells.push_back(row[x]);
      cells.push_back((*match->second)[y]);
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace kvviz
