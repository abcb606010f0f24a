// SPDX-License-Identifier: MIT
#include "kvviz/report/gate.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>

#include "kvviz/core/error.hpp"
#include "kvviz/core/trimmed.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

constexpr std::string_view comparison_characters = "<>=!";
constexpr size_t nearest_shown = 5;
constexpr size_t rows_suggested = 200;
constexpr std::array<std::string_view, 4> aggregates = {"min", "max", "mean", "sum"};

std::optional<double> parse_number(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

bool is_aggregate(std::string_view name) {
  return std::find(aggregates.begin(), aggregates.end(), name) != aggregates.end();
}

bool row_matches(const Table& table, size_t row, std::string_view selector) {
  if (table.key.empty()) return false;
  if (row_label(table, row) == selector) return true;
  for (const size_t column : key_columns(table)) {
    const size_t end = selector.find('@');
    const std::string_view part = selector.substr(0, end);
    const Cell& cell = table.rows[row][column];
    const auto wanted = parse_number(part);
    const auto held = number_in(cell);
    if (held ? wanted != held : key_text(cell) != part) return false;
    if (end == std::string_view::npos) return true;
    selector.remove_prefix(end + 1);
  }
  return false;
}

// The cells that a path names in one table.
struct Selection {
  const Table* table = nullptr;
  size_t column = 0;
  std::vector<size_t> rows;
  std::string_view aggregate;  // empty: none
};

struct Split {
  std::string_view head, tail;
};
Split at_last_dot(std::string_view path) {
  const size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return {{}, path};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

std::optional<Selection> select(const Table& table, std::string_view row_and_column,
                                std::string_view aggregate) {
  const auto [selector, name] = at_last_dot(row_and_column);
  const auto column = column_of(table, name);
  if (!column) return std::nullopt;
  Selection selection{.table = &table, .column = *column, .rows = {}, .aggregate = aggregate};
  for (size_t r = 0; r < table.rows.size(); ++r)
    if (selector.empty() || row_matches(table, r, selector)) selection.rows.push_back(r);
  if (selection.rows.empty() && !selector.empty()) return std::nullopt;
  return selection;
}

std::optional<Selection> select(const Table& table, std::string_view path) {
  if (auto plain = select(table, path, {})) return plain;
  const auto [head, tail] = at_last_dot(path);
  if (head.empty() || !is_aggregate(tail)) return std::nullopt;
  return select(table, head, tail);
}

std::string nearest_names(const std::string& path, const Result& result) {
  std::vector<std::string> names;
  for (const Fact& fact : result.summary) names.push_back(fact.key);
  const std::string_view tail = at_last_dot(path).tail;
  const std::string aggregate = is_aggregate(tail) ? std::string(tail) : "max";
  for (const Table& table : result.tables) {
    for (const Column& column : table.columns) {
      const bool key = std::find(table.key.begin(), table.key.end(), column.name) != table.key.end();
      if (key || column.type == ColumnType::text) continue;
      names.push_back(cat(table.name, '.', column.name, '.', aggregate));
      if (table.key.empty() || table.rows.size() > rows_suggested) continue;
      const std::string prefix = path.starts_with(table.name + '.') ? table.name + '.' : "";
      for (size_t row = 0; row < table.rows.size(); ++row)
        names.push_back(cat(prefix, row_label(table, row), '.', column.name));
    }
  }
  if (names.empty()) return "the result has no number";
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t i = 0; i < names.size(); ++i) order.emplace_back(edit_distance(path, names[i]), i);
  std::sort(order.begin(), order.end());
  std::string text = "nearest: ";
  for (size_t i = 0; i < std::min(nearest_shown, order.size()); ++i)
    text += (i == 0 ? "" : ", ") + names[order[i].second];
  return text;
}

Selection find(const Gate& gate, const Result& result) {
  std::vector<Selection> found;
  for (const Table& table : result.tables) {
    const std::string prefix = table.name + '.';
    if (!gate.path.starts_with(prefix)) continue;
    if (const auto s = select(table, std::string_view(gate.path).substr(prefix.size()))) found.push_back(*s);
  }
  if (found.empty())
    for (const Table& table : result.tables)
      if (const auto s = select(table, gate.path)) found.push_back(*s);
  require<UsageError>(!found.empty(), "--fail-if ", gate.text, ": the result has no ", gate.path, "; ",
                      nearest_names(gate.path, result));
  std::string tables;
  for (const Selection& s : found) tables += (tables.empty() ? "" : ", ") + s.table->name;
  require<UsageError>(found.size() == 1, "--fail-if ", gate.text, ": ", gate.path, " is in several tables (",
                      tables, "): put the table's name and a dot before it");
  return found.front();
}

double number_of(const Gate& gate, const Cell& cell, const std::string& where) {
  require<UsageError>(!std::holds_alternative<std::string>(cell), "--fail-if ", gate.text, ": ", where,
                      " is text; expected a number");
  const auto number = number_in(cell);
  require(number.has_value(), "--fail-if ", gate.text, ": ", where, " has no value (", reason_of(cell),
          "), so the gate cannot be decided");
  return *number;
}

struct Found {
  double value = 0;
  std::string where = {};  // see GateOutcome
};

Found value_of(const Gate& gate, const Selection& selection) {
  const Table& table = *selection.table;
  const std::string& column = table.columns[selection.column].name;
  require(!selection.rows.empty(), "--fail-if ", gate.text, ": table ", table.name,
          " has no rows, so the gate cannot be decided");
  const std::string first = table.key.empty() ? "" : cat(" (the first is ", row_label(table, 0), ")");
  require<UsageError>(selection.rows.size() == 1 || !selection.aggregate.empty(), "--fail-if ", gate.text,
                      ": ", gate.path, " names ", selection.rows.size(), " rows of table ", table.name,
                      ": add .min, .max, .mean or .sum, or name one row", first);
  std::vector<double> numbers;
  for (const size_t r : selection.rows)
    numbers.push_back(
        number_of(gate, table.rows[r][selection.column], cat(table.name, " row ", r, " column ", column)));
  const bool least = selection.aggregate == "min";
  if (least || selection.aggregate == "max") {
    const auto at = least ? std::ranges::min_element(numbers) : std::ranges::max_element(numbers);
    const size_t row = selection.rows[static_cast<size_t>(at - numbers.begin())];
    return {.value = *at, .where = numbers.size() == 1 ? "" : row_label(table, row)};
  }
  const double sum = std::accumulate(numbers.begin(), numbers.end(), 0.0);
  return {.value = selection.aggregate == "mean" ? sum / static_cast<double>(numbers.size()) : sum};
}

bool holds(Comparison comparison, double value, double number) {
  switch (comparison) {
    case Comparison::greater:
      return value > number;
    case Comparison::greater_equal:
      return value >= number;
    case Comparison::less:
      return value < number;
    case Comparison::less_equal:
      return value <= number;
    case Comparison::equal:
      return value == number;
    case Comparison::not_equal:
      return value != number;
  }
  return false;
}

// Where the comparison stands: the last one, for a row's key may hold < > = too. A '!' or '=' of an
// unfinished one counts, so that it can be named.
struct Operator {
  size_t at = std::string_view::npos;
  std::string_view text = {};
};
Operator last_operator(std::string_view text) {
  const size_t end = text.find_last_of(comparison_characters);
  if (end == std::string_view::npos) return {};
  const bool two =
      text[end] == '=' && end > 0 && comparison_characters.find(text[end - 1]) != std::string_view::npos;
  const size_t at = two ? end - 1 : end;
  return {.at = at, .text = text.substr(at, end + 1 - at)};
}

constexpr std::array<std::pair<std::string_view, Comparison>, 6> signs = {{{">", Comparison::greater},
                                                                           {">=", Comparison::greater_equal},
                                                                           {"<", Comparison::less},
                                                                           {"<=", Comparison::less_equal},
                                                                           {"==", Comparison::equal},
                                                                           {"!=", Comparison::not_equal}}};

std::optional<Comparison> comparison_of(std::string_view op) {
  for (const auto& [sign, comparison] : signs)
    if (sign == op) return comparison;
  return std::nullopt;
}
std::string_view sign_of(Comparison comparison) {
  return std::ranges::find(signs, comparison, [](const auto& sign) { return sign.second; })->first;
}

// The name with 0 in place of each number, be it written 12 or 0_25.
std::string any_number(std::string_view name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string pattern;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool after_number = !pattern.empty() && pattern.back() == '0';
    const bool joins = name[i] == '_' && i + 1 < name.size() && is_digit(name[i + 1]);
    if (after_number && (is_digit(name[i]) || joins)) continue;
    pattern += is_digit(name[i]) ? '0' : name[i];
  }
  return pattern;
}

}  // namespace

Gate parse_gate(std::string_view text) {
  const auto refuse = [&](const auto&... parts) {
    throw UsageError(cat("--fail-if ", text, ": ", parts...,
                         "; expected PATH OP NUMBER with OP one of > >= < <= == ",
                         "!=, for example sink_rate<0.3 or layers.k_hoyer.max>0.5"));
  };
  const Operator op = last_operator(text);
  if (op.text.empty()) refuse("no comparison");
  const auto comparison = comparison_of(op.text);
  if (!comparison) refuse("got \"", op.text, "\" as the comparison");
  const std::string_view path = trimmed(text.substr(0, op.at));
  const std::string_view right = trimmed(text.substr(op.at + op.text.size()));
  if (path.empty()) refuse("nothing before ", op.text);
  if (path.find_last_of(comparison_characters) == path.size() - 1)
    refuse("got \"", path.back(), op.text, "\" as the comparison");
  const auto number = parse_number(right);
  if (!number) refuse("got \"", right, "\" as the number");
  return {.text = std::string(text), .path = std::string(path), .comparison = *comparison, .number = *number};
}

void require_known(const Gate& gate, std::span<const std::string> names) {
  const auto known = [&](std::string_view name) {
    const std::string pattern = any_number(name);
    return std::ranges::any_of(names, [&](const std::string& one) { return any_number(one) == pattern; });
  };
  if (known(gate.path)) return;
  auto [head, column] = at_last_dot(gate.path);
  if (known(column)) return;
  if (!head.empty() && is_aggregate(column)) column = at_last_dot(head).tail;
  if (known(column)) return;
  const std::string meant = likely_meant(column, names);
  throw UsageError(cat("--fail-if ", gate.text, ": the result has no ", column,
                       meant.empty() ? "" : "; did you mean " + meant + "?",
                       "; the command's page lists its numbers"));
}

GateOutcome check_gate(const Gate& gate, const Result& result) {
  const Fact* fact = find_fact(result, gate.path);
  const auto [value, where] = fact != nullptr ? Found{.value = number_of(gate, fact->value, gate.path)}
                                              : value_of(gate, find(gate, result));
  return {.fired = holds(gate.comparison, value, gate.number),
          .value = value,
          .where = where,
          .message = cat(gate.path, " is ", shortest(value), where.empty() ? "" : cat(" (", where, ')'),
                         ": --fail-if ", gate.text)};
}

Check decide(const Gate& gate, const Result& result) {
  Check check{.name = gate.text};
  try {
    const GateOutcome outcome = check_gate(gate, result);
    check.verdict = outcome.fired ? Verdict::failed : Verdict::passed;
    check.message = outcome.message;
    check.details = cat("got: ", shortest(outcome.value),
                        outcome.where.empty() ? "" : cat(" (row ", outcome.where, ')'), "\nbound: fails if ",
                        sign_of(gate.comparison), ' ', shortest(gate.number), "\nexpression: ", gate.text);
  } catch (const UsageError& error) {
    check.verdict = Verdict::no_name;
    check.message = error.what();
  } catch (const DataError& error) {
    check.verdict = Verdict::no_value;
    check.message = error.what();
  }
  return check;
}

}  // namespace kvviz
