// SPDX-License-Identifier: MIT
#include "kvviz/tables/over_texts.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

constexpr int64_t most_bins = 20;
constexpr double coverage = 0.95;
constexpr const char* one_text = "one text has no spread";

bool is_word(const Cell& cell) {
  return std::holds_alternative<std::string>(cell);
}

/// Edges of a fact's histogram.
struct Bins {
  int64_t count = 0;
  double low = 0, high = 0;
  double edge(int64_t bin) const {
    return low + (high - low) * static_cast<double>(bin) / static_cast<double>(count);
  }
  int64_t of(double x) const {
    const double place = (x - low) / (high - low) * static_cast<double>(count);
    auto bin = static_cast<int64_t>(std::clamp(place, 0.0, static_cast<double>(count - 1)));
    // Rounding may have carried it over an edge as it is put out.
    if (bin > 0 && x < edge(bin)) --bin;
    if (bin < count - 1 && x >= edge(bin + 1)) ++bin;
    return bin;
  }
};

}  // namespace

FactsOverTexts::Line& FactsOverTexts::line(const Fact& fact) {
  const auto [at, is_new] = index_.try_emplace(fact.key, lines_.size());
  if (is_new) lines_.push_back({.key = fact.key, .unit = fact.unit, .label = fact.label});
  return lines_[at->second];
}

void FactsOverTexts::add(const TextName& text, std::span<const Fact> facts) {
  Text& row = texts_.emplace_back(Text{text, {}});
  for (const Fact& fact : facts) {
    Line& of = line(fact);
    row.values.resize(lines_.size(), Null{"not in the result of this text"});
    row.values[index_.at(fact.key)] = fact.value;
    ++of.met;
    const std::string reason = reason_of(fact.value);
    if (!reason.empty()) {
      if (of.reason.empty()) of.reason = reason;
      of.same = false;
      continue;
    }
    if (reason_of(of.first).empty())
      of.same = of.same && of.first == fact.value;
    else
      of.first = fact.value;
    of.word = of.word || is_word(fact.value);
    of.whole = of.whole && std::holds_alternative<int64_t>(fact.value);
    if (const auto number = number_in(fact.value)) of.spread.add(*number);
  }
}

bool FactsOverTexts::stays(const Line& line) const {
  return line.same && line.met == std::ssize(texts_) && (line.word || line.whole);
}

std::vector<Fact> FactsOverTexts::summary() const {
  int64_t tokens = 0;
  for (const Text& text : texts_) tokens += text.name.tokens;
  std::vector<Fact> facts = {{"texts", integer(std::ssize(texts_)), "", "Texts"},
                             {"tokens_total", integer(tokens), "tokens", "Tokens of all texts"}};
  for (const Line& line : lines_) {
    if (stays(line)) {
      facts.push_back({line.key, line.first, line.unit, line.label});
    } else if (!line.word) {
      facts.push_back({line.key, real(line.spread.mean(), line.reason.c_str()), line.unit, line.label});
      facts.push_back(
          {line.key + "_se",
           real(line.spread.standard_error(), line.spread.count() == 0 ? line.reason.c_str() : one_text),
           line.unit, "  its standard error over texts"});
    }
  }
  return facts;
}

Table FactsOverTexts::facts() const {
  struct Row {
    const Line* of;
    stats::Interval interval;
  };
  std::vector<Row> rows;
  for (const Line& line : lines_)
    if (!line.word && line.spread.count() > 0)
      rows.push_back({&line, stats::mean_interval(line.spread, coverage)});
  const std::vector<Field<Row>> fields = {
      {word("fact"), [](const Row& r) { return Cell(r.of->key); }},
      {word("unit"), [](const Row& r) { return Cell(r.of->unit); }},
      {whole("texts"), [](const Row& r) { return integer(r.of->spread.count()); }},
      {number("mean"), [](const Row& r) { return real(r.of->spread.mean()); }},
      {number("sd"), [](const Row& r) { return real(r.of->spread.sd(), one_text); }},
      {number("se"), [](const Row& r) { return real(r.of->spread.standard_error(), one_text); }},
      {number("ci95_low"), [](const Row& r) { return real(r.interval.low, one_text); }},
      {number("ci95_high"), [](const Row& r) { return real(r.interval.high, one_text); }},
      {number("min"), [](const Row& r) { return real(r.of->spread.min()); }},
      {number("max"), [](const Row& r) { return real(r.of->spread.max()); }}};
  return make_table("facts_over_texts", {"fact"}, fields, rows);
}

Table FactsOverTexts::histograms() const {
  struct Row {
    const Line* of;
    int64_t bin;
    double low, high;
    int64_t texts;
  };
  std::vector<Row> rows;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const Line& line = lines_[i];
    if (line.word || line.spread.count() == 0) continue;
    const double low = line.spread.min(), high = line.spread.max();
    const auto range = std::ranges::find(ranges_, line.key, &FactRange::fact);
    Bins edges;
    if (range != ranges_.end())
      edges = {most_bins, range->low, range->high};
    else if (line.whole && high - low < static_cast<double>(most_bins))
      edges = {std::llround(high - low) + 1, low - 0.5, high + 0.5};
    else
      edges = {most_bins, low, high};
    if (range == ranges_.end() && low == high) continue;
    std::vector<int64_t> counts(static_cast<size_t>(edges.count));
    for (const Text& text : texts_)
      if (i < text.values.size())
        if (const auto value = number_in(text.values[i])) ++counts[static_cast<size_t>(edges.of(*value))];
    for (int64_t bin = 0; bin < edges.count; ++bin)
      rows.push_back({&line, bin, edges.edge(bin), edges.edge(bin + 1), counts[static_cast<size_t>(bin)]});
  }
  const std::vector<Field<Row>> fields = {{word("fact"), [](const Row& r) { return Cell(r.of->key); }},
                                          {whole("bin"), [](const Row& r) { return integer(r.bin); }},
                                          {number("low"), [](const Row& r) { return real(r.low); }},
                                          {number("high"), [](const Row& r) { return real(r.high); }},
                                          {whole("texts"), [](const Row& r) { return integer(r.texts); }}};
  return make_table("fact_histograms", {"fact", "bin"}, fields, rows);
}

Table FactsOverTexts::texts() const {
  std::vector<Field<Text>> fields = {
      {whole("text"), [](const Text& r) { return integer(r.name.index); }},
      {word("name"), [](const Text& r) { return Cell(r.name.name); }},
      {whole("tokens", "tokens"), [](const Text& r) { return integer(r.name.tokens); }}};
  for (size_t i = 0; i < lines_.size(); ++i) {
    const Line& line = lines_[i];
    if (line.key == "tokens" || (line.word && stays(line))) continue;
    const ColumnType type = line.word                               ? ColumnType::text
                            : line.whole && line.spread.count() > 0 ? ColumnType::integer
                                                                    : ColumnType::real;
    fields.push_back({{line.key, line.unit, type}, [i](const Text& r) {
                        return i < r.values.size() ? r.values[i]
                                                   : Cell(Null{"not in the result of this text"});
                      }});
  }
  return make_table("texts", {"text"}, fields, texts_);
}

OverTexts::OverTexts(const OverTextsOptions& options) : facts_(options.ranges) {
  for (const TableOverTexts& table : options.tables) tables_.emplace_back(table);
}

void OverTexts::add(const TextName& text, const Result& result) {
  facts_.add(text, result.summary);
  for (RowsOverTexts& rows : tables_) {
    if (const Table* table = find_table(result, rows.name())) rows.add(*table);
  }
}

void OverTexts::put_into(Result& result) const {
  std::ranges::move(facts_.summary(), std::back_inserter(result.summary));
  result.tables.push_back(facts_.facts());
  result.tables.push_back(facts_.histograms());
  result.tables.push_back(facts_.texts());
  for (const RowsOverTexts& rows : tables_)
    if (!rows.empty()) result.tables.push_back(rows.table());
}

namespace {

/// The rows of a table by the columns of its key without the text.
struct Group {
  std::vector<Cell> key;
  FactsOverTexts facts{{}};
};

/// Puts the rows of a group's table behind those of others, each behind the group's key.
void append(Table& all, const Table& one, const std::vector<Column>& columns, const std::vector<Cell>& key) {
  if (all.columns.empty()) {
    all = {.name = one.name, .columns = columns, .key = {}, .rows = {}};
    for (const Column& column : columns) all.key.push_back(column.name);
    std::ranges::copy(one.columns, std::back_inserter(all.columns));
    std::ranges::copy(one.key, std::back_inserter(all.key));
  }
  for (const auto& row : one.rows) {
    std::vector<Cell>& cells = all.rows.emplace_back(key);
    std::ranges::copy(row, std::back_inserter(cells));
  }
}

}  // namespace

void add_over_texts(Result& result, const std::string& texts_table,
                    const std::vector<std::string>& histograms) {
  const Table* from = find_table(result, texts_table);
  if (from == nullptr) return;
  const Table& table = *from;
  const auto in_key = [&](const Column& column) { return std::ranges::count(table.key, column.name) > 0; };
  std::vector<Column> columns;
  std::vector<size_t> keys, numbers;
  size_t text = 0;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const Column& column = table.columns[c];
    if (column.name == "text") {
      text = c;
    } else if (in_key(column)) {
      columns.push_back(column);
      keys.push_back(c);
    } else if (column.type != ColumnType::text && !column.name.ends_with("_se")) {
      numbers.push_back(c);
    }
  }
  std::vector<Group> groups;
  std::map<std::vector<std::string>, size_t> group_of;
  std::set<int64_t> texts;
  for (const auto& row : table.rows) {
    const auto [at, is_new] = group_of.try_emplace(key_texts(row, keys), groups.size());
    if (is_new)
      for (std::vector<Cell>& key = groups.emplace_back().key; const size_t c : keys) key.push_back(row[c]);
    std::vector<Fact> facts;
    for (const size_t c : numbers)
      facts.push_back({table.columns[c].name, row[c], table.columns[c].unit, table.columns[c].name});
    const int64_t index = std::get<int64_t>(row[text]);
    groups[at->second].facts.add({index, "", 0}, facts);
    texts.insert(index);
  }
  if (texts.size() < 2) return;
  Table intervals, bins;
  for (const Group& group : groups) {
    append(intervals, group.facts.facts(), columns, group.key);
    Table of_group = group.facts.histograms();
    const size_t fact = 0;
    if (!histograms.empty())
      std::erase_if(of_group.rows, [&](const std::vector<Cell>& row) {
        return std::ranges::count(histograms, std::get<std::string>(row[fact])) == 0;
      });
    append(bins, of_group, columns, group.key);
  }
  result.tables.push_back(std::move(intervals));
  result.tables.push_back(std::move(bins));
}

}  // namespace kvviz::tables
