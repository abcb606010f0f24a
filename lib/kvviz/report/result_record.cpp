// SPDX-License-Identifier: MIT
#include "kvviz/report/result_record.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvviz/core/error.hpp"
#include "kvviz/core/json_number.hpp"

namespace kvviz {
namespace {
using nlohmann::json;

json of_cell(const Cell& cell) {
  if (const std::string reason = reason_of(cell); !reason.empty()) return json::array({reason});
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return *whole;
  return std::get<double>(cell);
}

Cell to_cell(const json& value) {
  if (value.is_array()) return Null{value.at(0).get<std::string>()};
  if (value.is_string()) return value.get<std::string>();
  if (const auto whole = whole_number(value)) return *whole;
  return value.get<double>();
}

json of_table(const Table& table) {
  json columns = json::array(), cells = json::array();
  for (const Column& column : table.columns)
    columns.push_back(json::array({column.name, column.unit, static_cast<int>(column.type)}));
  for (const auto& row : table.rows)
    for (const Cell& cell : row) cells.push_back(of_cell(cell));
  return {
      {"name", table.name}, {"key", table.key}, {"columns", std::move(columns)}, {"cells", std::move(cells)}};
}

Table to_table(const json& record) {
  Table table{.name = record.at("name").get<std::string>(),
              .columns = {},
              .key = record.at("key").get<std::vector<std::string>>(),
              .rows = {}};
  for (const json& column : record.at("columns")) {
    const int64_t type = column.at(2).get_ref<const int64_t&>();
    require(type >= 0 && type <= 2, "table ", table.name, ": there is no column type ", type);
    table.columns.push_back(
        {column.at(0).get<std::string>(), column.at(1).get<std::string>(), static_cast<ColumnType>(type)});
  }
  const json& cells = record.at("cells");
  require(!table.columns.empty() && cells.size() % table.columns.size() == 0, "table ", table.name, ": ",
          cells.size(), " cells do not make rows of ", table.columns.size());
  for (const json& cell : cells) {
    if (table.rows.empty() || table.rows.back().size() == table.columns.size())
      table.rows.emplace_back().reserve(table.columns.size());
    table.rows.back().push_back(to_cell(cell));
  }
  validate(table);
  return table;
}

}  // namespace

json to_record(const Result& result) {
  json summary = json::array(), tables = json::array();
  for (const Fact& fact : result.summary)
    summary.push_back(json::array({fact.key, of_cell(fact.value), fact.unit, fact.label}));
  for (const Table& table : result.tables) tables.push_back(of_table(table));
  return {{"command", result.command}, {"summary", std::move(summary)}, {"tables", std::move(tables)}};
}

Result result_from_record(const json& record) {
  try {
    Result result{
        .command = record.at("command").get<std::string>(), .summary = {}, .tables = {}, .figures = {}};
    for (const json& fact : record.at("summary"))
      result.summary.push_back({fact.at(0).get<std::string>(), to_cell(fact.at(1)),
                                fact.at(2).get<std::string>(), fact.at(3).get<std::string>()});
    for (const json& table : record.at("tables")) result.tables.push_back(to_table(table));
    return result;
  } catch (const json::exception& error) {
    throw DataError(cat("a text's record is not that of a result: ", error.what()));
  } catch (const std::logic_error& error) {
    throw DataError(cat("a text's record is not that of a result: ", error.what()));
  }
}

}  // namespace kvviz
