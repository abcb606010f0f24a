// SPDX-License-Identifier: MIT
#include "kvviz/report/table.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "kvviz/core/error.hpp"
#include "kvviz/core/json_number.hpp"

namespace kvviz {
namespace {
using nlohmann::ordered_json;

constexpr std::array<const char*, 3> type_names = {"integer", "real", "text"};

bool is_name(const std::string& name) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return !name.empty() && name.find_first_not_of(allowed) == std::string::npos;
}

bool fits(const Cell& cell, ColumnType type) {
  if (std::holds_alternative<Null>(cell)) return true;
  if (std::holds_alternative<std::string>(cell)) return type == ColumnType::text;
  if (std::holds_alternative<double>(cell)) return type == ColumnType::real;
  return type != ColumnType::text;
}

ordered_json value_of(const Cell& cell, ColumnType type) {
  if (!reason_of(cell).empty()) return nullptr;
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell); whole != nullptr && type == ColumnType::integer)
    return *whole;
  return *number_in(cell);
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

std::string csv_field(const Cell& cell) {
  if (!reason_of(cell).empty()) return "";
  if (const auto* text = std::get_if<std::string>(&cell)) return quoted(*text);
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  return shortest(std::get<double>(cell));
}

Cell cell_from_json(const ordered_json& value, ColumnType type, const std::string& where) {
  if (value.is_null()) return Null{"no reason given"};
  if (type == ColumnType::text && value.is_string()) return value.get<std::string>();
  if (const auto whole = whole_number(value); type == ColumnType::integer && whole) return *whole;
  if (type == ColumnType::real && value.is_number()) return value.get<double>();
  throw DataError(cat(where, ": got ", value.dump(), "; expected ", type_names[static_cast<size_t>(type)]));
}

}  // namespace

void validate(const Table& table) {
  const auto check = [&](bool ok, const auto&... parts) {
    if (!ok) throw std::logic_error(cat("table ", table.name, ": ", parts...));
  };
  check(is_name(table.name), "not a name");
  std::set<std::string> names;
  for (const Column& column : table.columns) {
    check(is_name(column.name), '"', column.name, "\" is not a column name");
    check(names.insert(column.name).second, "two columns are named ", column.name);
  }
  for (const std::string& key : table.key) check(names.contains(key), "the key ", key, " is not a column");
  for (size_t r = 0; r < table.rows.size(); ++r) {
    check(table.rows[r].size() == table.columns.size(), "row ", r, " has ", table.rows[r].size(),
          " cells for ", table.columns.size(), " columns");
    for (size_t c = 0; c < table.columns.size(); ++c)
      check(fits(table.rows[r][c], table.columns[c].type), "row ", r, ": the cell of ", table.columns[c].name,
            " is not ", type_names[static_cast<size_t>(table.columns[c].type)]);
  }
}

std::optional<double> number_in(const Cell& cell) {
  if (const auto* whole = std::get_if<int64_t>(&cell)) return static_cast<double>(*whole);
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr || !std::isfinite(*number)) return std::nullopt;
  return *number;
}

std::string reason_of(const Cell& cell) {
  if (const auto* null = std::get_if<Null>(&cell))
    return null->reason.empty() ? "no reason given" : null->reason;
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr || std::isfinite(*number)) return "";
  return std::isnan(*number) ? "not a number" : "infinite";
}

std::optional<size_t> column_of(const Table& table, std::string_view name) {
  const auto at = std::ranges::find(table.columns, name, &Column::name);
  if (at == table.columns.end()) return std::nullopt;
  return static_cast<size_t>(at - table.columns.begin());
}

std::vector<size_t> key_columns(const Table& table) {
  std::vector<size_t> columns;
  for (const std::string& name : table.key) columns.push_back(column_of(table, name).value());
  return columns;
}

std::string key_text(const Cell& cell) {
  constexpr double exact = 9007199254740992;  // 2^53
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  const auto number = number_in(cell);
  if (!number) return "null";
  const bool whole = *number == std::round(*number) && std::abs(*number) < exact;
  return whole ? std::to_string(static_cast<int64_t>(*number)) : shortest(*number);
}

std::vector<std::string> key_texts(const std::vector<Cell>& row, const std::vector<size_t>& columns) {
  std::vector<std::string> texts;
  for (const size_t column : columns) texts.push_back(key_text(row[column]));
  return texts;
}

std::string row_label(const Table& table, size_t row) {
  std::string label;
  for (const std::string& part : key_texts(table.rows[row], key_columns(table)))
    label += (label.empty() ? "" : "@") + part;
  return label;
}

std::string shortest(double number) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number);
  return {text.data(), end.ptr};
}

ordered_json to_json(const Table& table) {
  validate(table);
  ordered_json columns = ordered_json::array();
  for (const Column& column : table.columns)
    columns.push_back({{"name", column.name},
                       {"unit", column.unit},
                       {"type", type_names[static_cast<size_t>(column.type)]}});
  ordered_json rows = ordered_json::array();
  ordered_json nulls = ordered_json::array();
  for (size_t r = 0; r < table.rows.size(); ++r) {
    ordered_json row = ordered_json::object();
    for (size_t c = 0; c < table.columns.size(); ++c) {
      const Cell& cell = table.rows[r][c];
      row[table.columns[c].name] = value_of(cell, table.columns[c].type);
      const std::string reason = reason_of(cell);
      if (!reason.empty())
        nulls.push_back({{"row", r}, {"column", table.columns[c].name}, {"reason", reason}});
    }
    rows.push_back(std::move(row));
  }
  ordered_json json = {{"key", table.key}, {"columns", columns}, {"rows", std::move(rows)}};
  json["nulls"] = std::move(nulls);
  return json;
}

Table table_from_json(const std::string& name, const ordered_json& json, const std::string& source) {
  const std::string where = cat(source, ": table ", name);
  try {
    Table table{
        .name = name, .columns = {}, .key = json.at("key").get<std::vector<std::string>>(), .rows = {}};
    for (const ordered_json& column : json.at("columns")) {
      const std::string type = column.at("type").get<std::string>();
      const auto known = std::find(type_names.begin(), type_names.end(), type);
      require(known != type_names.end(), where, ": got column type ", type,
              "; expected integer, real or text");
      table.columns.push_back({column.at("name").get<std::string>(), column.at("unit").get<std::string>(),
                               static_cast<ColumnType>(known - type_names.begin())});
    }
    for (const ordered_json& row : json.at("rows")) {
      std::vector<Cell> cells;
      for (const Column& column : table.columns)
        cells.push_back(cell_from_json(row.at(column.name), column.type,
                                       cat(where, " row ", table.rows.size(), " column ", column.name)));
      table.rows.push_back(std::move(cells));
    }
    for (const ordered_json& null : json.at("nulls")) {
      const auto column = null.at("column").get<std::string>();
      const auto found = std::find_if(table.columns.begin(), table.columns.end(),
                                      [&](const Column& c) { return c.name == column; });
      require(found != table.columns.end(), where, ": a null is in the column ", column,
              ", which does not exist");
      table.rows.at(static_cast<size_t>(
          null.at("row").get_ref<const int64_t&>()))[static_cast<size_t>(found - table.columns.begin())] =
          Null{null.at("reason").get<std::string>()};
    }
    validate(table);
    return table;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(where, ": ", error.what()));
  } catch (const std::logic_error& error) {
    throw DataError(cat(where, ": ", error.what()));
  }
}

std::string to_csv(const Table& table) {
  validate(table);
  std::string out;
  for (size_t c = 0; c < table.columns.size(); ++c) out += (c == 0 ? "" : ",") + table.columns[c].name;
  out += '\n';
  for (const std::vector<Cell>& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) out += (c == 0 ? "" : ",") + csv_field(row[c]);
    out += '\n';
  }
  return out;
}

}  // namespace kvviz
