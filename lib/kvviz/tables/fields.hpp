// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <functional>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/report/table.hpp"

namespace kvviz::tables {

/// Columns of whole numbers, of numbers, of text.
inline Column whole(std::string name, std::string unit = "") {
  return {std::move(name), std::move(unit), ColumnType::integer};
}
inline Column number(std::string name, std::string unit = "") {
  return {std::move(name), std::move(unit), ColumnType::real};
}
inline Column word(std::string name) {
  return {std::move(name), "", ColumnType::text};
}

/// A column and how a row fills it.
template <class Row>
struct Field {
  Column column;
  std::function<Cell(const Row&)> get;
};

/// The number, or null with `reason` where the analysis has none (NaN).
inline Cell real(double value, const char* reason = "not defined for these values: too few, or all alike") {
  if (std::isnan(value)) return Null{reason};
  return value;
}
inline Cell integer(int64_t value) {
  return value;
}

/// One table row for each of `rows`.
template <class Row, std::ranges::input_range Rows>
Table make_table(const std::string& name, std::vector<std::string> key, const std::vector<Field<Row>>& fields,
                 const Rows& rows) {
  Table table{.name = name, .key = std::move(key)};
  for (const auto& field : fields) table.columns.push_back(field.column);
  for (const Row& row : rows) {
    std::vector<Cell> cells;
    cells.reserve(fields.size());
    for (const auto& field : fields) cells.push_back(field.get(row));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace kvviz::tables
