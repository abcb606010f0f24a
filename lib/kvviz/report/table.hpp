// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kvviz {

/// A value that does not exist, and why ("fewer than 2 tokens").
struct Null {
  std::string reason;
  bool operator==(const Null&) const = default;
};

/// One value of a table. A double that is not finite counts as a Null everywhere ("not a number",
/// "infinite").
using Cell = std::variant<Null, int64_t, double, std::string>;

enum class ColumnType { integer, real, text };

struct Column {
  std::string name;       ///< letters, digits and _: the name in JSON, CSV and --fail-if
  std::string unit = "";  ///< "nats", "tokens", "bytes"; empty: a plain number or text
  ColumnType type = ColumnType::real;
};

/// Tidy rows: one per layer, per layer and head, per policy and budget, ... The `key` columns name a row.
struct Table {
  std::string name;  ///< letters, digits and _
  std::vector<Column> columns;
  std::vector<std::string> key;  ///< names of columns, integer, real or text
  std::vector<std::vector<Cell>> rows;
};

/// Names are well-formed and not repeated, rows are as long as the columns, cells have their column's type
/// (an integer may stand in a real column), keys are columns. Throws std::logic_error: a table is made by
/// kvviz, not by a user.
void validate(const Table& table);

/// The finite number in a cell; nullopt for a Null, text, or what is not finite.
std::optional<double> number_in(const Cell& cell);
/// Why a cell has no value; empty when it has one.
std::string reason_of(const Cell& cell);

/// Where the column stands; nullopt: there is none of the name.
std::optional<size_t> column_of(const Table& table, std::string_view name);
/// column_of() the names in `key`.
std::vector<size_t> key_columns(const Table& table);
/// A cell as it stands in the name of a row: text itself, a whole number below 2^53 with all its digits,
/// whether it is stored as an integer or not, other numbers as shortest(), "null" where there is no value.
std::string key_text(const Cell& cell);
/// key_text() of some columns of a row, such as key_columns().
std::vector<std::string> key_texts(const std::vector<Cell>& row, const std::vector<size_t>& columns);
/// The name of a row in paths: key_text() of its key columns, "@" between them; empty without a key.
std::string row_label(const Table& table, size_t row);

/// {"key": [...], "columns": [{"name", "unit", "type"}], "rows": [{column: value}], "nulls": [{"row",
/// "column", "reason"}]}, in this order; a value that does not exist is null in its row. Throws as
/// validate().
nlohmann::ordered_json to_json(const Table& table);
/// The table in to_json()'s form. Throws DataError naming `source` and what is wrong.
Table table_from_json(const std::string& name, const nlohmann::ordered_json& json, const std::string& source);

/// RFC 4180 with "\n": a header of column names, then the rows; numbers in the shortest form that reads back
/// to the same value, nothing where there is no value. The same on every locale. Throws as validate().
std::string to_csv(const Table& table);

/// The shortest decimal form that reads back to the same double: "0.25", "1e-05". Finite numbers only.
std::string shortest(double number);

}  // namespace kvviz
