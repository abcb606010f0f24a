// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/over_texts.hpp"

namespace kvviz::tables {
namespace {

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

void RowsOverTexts::choose_columns(const Table& table) {
  columns_ = table.columns;
  key_ = table.key;
  keys_ = key_columns(table);
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    if (is_in(key_, column.name) || is_in(what_.left_out, column.name)) continue;
    if (is_in(what_.kept, column.name))
      kept_.push_back(c);
    else if (column.type != ColumnType::text)
      numbers_.push_back(c);
  }
}

void RowsOverTexts::add(const Table& table) {
  if (columns_.empty()) choose_columns(table);
  const auto same = [](const Column& a, const Column& b) { return a.name == b.name; };
  require(std::ranges::equal(columns_, table.columns, same), "the tables ", table.name,
          " of two texts have different columns");
  for (const auto& cells : table.rows) {
    const auto [at, is_new] = index_.try_emplace(key_texts(cells, keys_), rows_.size());
    if (is_new) {
      Row& row = rows_.emplace_back();
      for (const size_t c : keys_) row.key.push_back(cells[c]);
      for (const size_t c : kept_) row.kept.push_back(cells[c]);
      row.numbers.resize(numbers_.size());
      row.reasons.resize(numbers_.size());
    }
    Row& row = rows_[at->second];
    ++row.texts;
    for (size_t i = 0; i < numbers_.size(); ++i) {
      const Cell& cell = cells[numbers_[i]];
      if (const auto number = number_in(cell))
        row.numbers[i].add(*number);
      else if (row.reasons[i].empty())
        row.reasons[i] = reason_of(cell);
    }
  }
}

bool RowsOverTexts::has_gaps(size_t number) const {
  return std::ranges::any_of(rows_, [&](const Row& row) { return row.numbers[number].count() < row.texts; });
}

Table RowsOverTexts::table() const {
  std::vector<Field<Row>> fields;
  for (size_t i = 0; i < keys_.size(); ++i)
    fields.push_back({columns_[keys_[i]], [i](const Row& r) { return r.key[i]; }});
  fields.push_back({whole("texts"), [](const Row& r) { return integer(r.texts); }});
  for (size_t i = 0; i < numbers_.size(); ++i) {
    const Column& column = columns_[numbers_[i]];
    fields.push_back({number(column.name, column.unit),
                      [i](const Row& r) { return real(r.numbers[i].mean(), r.reasons[i].c_str()); }});
    fields.push_back({number(column.name + "_sd", column.unit),
                      [i](const Row& r) { return real(r.numbers[i].sd(), "fewer than two texts have it"); }});
    if (has_gaps(i))
      fields.push_back(
          {whole(column.name + "_n"), [i](const Row& r) { return integer(r.numbers[i].count()); }});
  }
  for (size_t i = 0; i < kept_.size(); ++i)
    fields.push_back({columns_[kept_[i]], [i](const Row& r) { return r.kept[i]; }});
  std::vector<Row> rows = rows_;
  if (what_.most_texts_first) std::ranges::stable_sort(rows, std::ranges::greater(), &Row::texts);
  return make_table(what_.name + "_over_texts", key_, fields, rows);
}

}  // namespace kvviz::tables
