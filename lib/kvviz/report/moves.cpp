// SPDX-License-Identifier: MIT
#include "kvviz/report/moves.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

constexpr size_t moves_listed = 20;

bool is_time(std::string_view unit) {
  constexpr std::array<std::string_view, 5> units = {"s", "ms", "us", "ns", "seconds"};
  return std::ranges::find(units, unit) != units.end() || unit.ends_with("/s");
}

bool needs_a_pattern(const std::string& name, const std::string& unit) {
  return name.ends_with("_se") || is_time(unit);
}

// Rows by their names, those of one name in their order.
using Rows = std::map<std::string, std::vector<size_t>>;

std::vector<std::string> row_names(const Table& table) {
  std::vector<std::string> names;
  for (size_t r = 0; r < table.rows.size(); ++r)
    names.push_back(table.key.empty() ? std::to_string(r) : row_label(table, r));
  return names;
}

// A column that both tables have.
struct Common {
  size_t in_a, in_b;
};
std::vector<Common> common_columns(const Table& a, const Table& b) {
  std::vector<Common> common;
  for (size_t c = 0; c < a.columns.size(); ++c) {
    const std::string& name = a.columns[c].name;
    if (std::ranges::count(a.key, name) > 0) continue;
    if (const auto other = column_of(b, name)) common.push_back({c, *other});
  }
  return common;
}

class Comparer {
 public:
  explicit Comparer(Tolerances tolerances) : tolerances_(std::move(tolerances)) {}

  MovedPart summaries(const Result& a, const Result& b) {
    MovedPart part{.name = "summary"};
    for (const Fact& fact : a.summary) {
      const Fact* other = find_fact(b, fact.key);
      if (other == nullptr)
        present(part, fact.key, {fact.key, part.name}, "missing in b");
      else
        value(part, fact.key, {fact.key, part.name}, {&fact.value, &other->value, &fact.key, &fact.unit});
    }
    for (const Fact& fact : b.summary)
      if (find_fact(a, fact.key) == nullptr) present(part, fact.key, {fact.key, part.name}, "only in b");
    return part;
  }

  MovedPart tables(const Table* a, const Table* b) {
    const Table& one = a == nullptr ? *b : *a;
    MovedPart part{.name = one.name};
    if (a == nullptr || b == nullptr)
      present(part, one.name, {one.name}, b == nullptr ? "missing in b" : "only in b");
    else
      both(part, *a, *b);
    return part;
  }

  std::vector<std::string> unused() const { return tolerances_.unused(); }

 private:
  struct Pair {
    const Cell *a, *b;
    const std::string *name, *unit;
  };

  void present(MovedPart& part, std::string path, const std::vector<std::string>& names, const char* what) {
    if (tolerances_.bound(tolerances_.rule(names)).ignored)
      ++part.ignored;
    else
      part.moves.push_back({.path = std::move(path), .what = what});
  }

  void value(MovedPart& part, const std::string& path, const std::vector<std::string>& names,
             const Pair& pair) {
    const auto rule = tolerances_.rule(names);
    const Bound bound = tolerances_.bound(rule).in_unit(*pair.unit);
    if (bound.ignored || (!rule && needs_a_pattern(*pair.name, *pair.unit))) {
      ++part.ignored;
      return;
    }
    ++part.compared;
    const auto x = number_in(*pair.a), y = number_in(*pair.b);
    if (x && y) {
      if (!bound.holds(*x, *y))
        part.moves.push_back({.path = path, .what = "moved", .a = x, .b = y, .allowed = bound.allowed(*x)});
      return;
    }
    const std::string without_a = reason_of(*pair.a), without_b = reason_of(*pair.b);
    if (!without_a.empty() && !without_b.empty()) return;
    Move move{.path = path, .what = "", .a = x, .b = y};
    if (!without_b.empty())
      move.what = cat("null in b (", without_b, ')');
    else if (!without_a.empty())
      move.what = cat("null in a (", without_a, ')');
    else if (const auto from = key_text(*pair.a), to = key_text(*pair.b); from != to || x || y)
      move.what = cat(from, " became ", to);
    else
      return;
    part.moves.push_back(std::move(move));
  }

  void both(MovedPart& part, const Table& a, const Table& b) {
    if (a.key != b.key) {
      present(part, a.name, {a.name}, "other key columns");
      return;
    }
    columns(part, a, b);
    const std::vector<Common> common = common_columns(a, b);
    const auto names_a = row_names(a), names_b = row_names(b);
    Rows rows;
    for (size_t r = names_b.size(); r-- > 0;) rows[names_b[r]].push_back(r);
    for (size_t r = 0; r < a.rows.size(); ++r) {
      auto& same = rows[names_a[r]];
      if (same.empty()) {
        row(part, a, names_a[r], "missing in b");
        continue;
      }
      cells(part, a, common, names_a[r], {&a.rows[r], &b.rows[same.back()]});
      same.pop_back();
    }
    for (size_t r = 0; r < b.rows.size(); ++r) {
      auto& left = rows[names_b[r]];
      if (left.empty() || left.back() != r) continue;
      row(part, b, names_b[r], "only in b");
      left.pop_back();
    }
  }

  void columns(MovedPart& part, const Table& a, const Table& b) {
    const auto lacking = [&](const Table& from, const Table& to, const char* what) {
      for (const Column& column : from.columns) {
        const std::string path = cat(from.name, '.', column.name);
        if (!column_of(to, column.name)) present(part, path, {path, column.name, from.name}, what);
      }
    };
    lacking(a, b, "missing in b");
    lacking(b, a, "only in b");
  }

  void row(MovedPart& part, const Table& table, const std::string& name, const char* what) {
    const std::string path = cat(table.name, '.', name);
    present(part, path, {path, table.name}, what);
  }

  void cells(MovedPart& part, const Table& a, const std::vector<Common>& common, const std::string& name,
             std::pair<const std::vector<Cell>*, const std::vector<Cell>*> rows) {
    for (const Common& at : common) {
      const Column& column = a.columns[at.in_a];
      const std::string path = cat(a.name, '.', name, '.', column.name);
      std::vector<std::string> names;
      if (tolerances_.has_rules()) names = {path, cat(a.name, '.', column.name), column.name, a.name};
      value(part, path, names,
            {&(*rows.first)[at.in_a], &(*rows.second)[at.in_b], &column.name, &column.unit});
    }
  }

  Tolerances tolerances_;
};

double severity(const Move& move) {
  if (!move.a || !move.b || move.allowed == 0) return std::numeric_limits<double>::infinity();
  return std::abs(*move.b - *move.a) / move.allowed;
}

void collect(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b, const std::string& path,
             std::vector<std::string>& names) {
  if (a == b) return;
  if (!a.is_object() || !b.is_object()) {
    names.push_back(path);
    return;
  }
  const auto inner = [&](const std::string& key) { return path.empty() ? key : cat(path, '.', key); };
  for (const auto& [key, value] : a.items())
    if (b.contains(key))
      collect(value, b.at(key), inner(key), names);
    else
      names.push_back(inner(key));
  for (const auto& [key, value] : b.items())
    if (!a.contains(key)) names.push_back(inner(key));
}

}  // namespace

std::string in_words(const Move& move) {
  if (!move.a || !move.b) return cat(move.path, ": ", move.what);
  std::string from = fmt::format("{:.6g}", *move.a), to = fmt::format("{:.6g}", *move.b);
  if (from == to) from = shortest(*move.a), to = shortest(*move.b);
  return fmt::format("{}: {} -> {} (allowed +-{:.4g})", move.path, from, to, move.allowed);
}

std::vector<Move> worst_first(const std::vector<MovedPart>& parts) {
  std::vector<Move> moves;
  for (const MovedPart& part : parts) moves.insert(moves.end(), part.moves.begin(), part.moves.end());
  std::ranges::stable_sort(moves, std::ranges::greater(), severity);
  return moves;
}

std::vector<MovedPart> moves_between(const Result& a, const Result& b, Tolerances tolerances) {
  Comparer comparer(std::move(tolerances));
  std::vector<MovedPart> parts{comparer.summaries(a, b)};
  for (const Table& table : a.tables) parts.push_back(comparer.tables(&table, find_table(b, table.name)));
  for (const Table& table : b.tables)
    if (find_table(a, table.name) == nullptr) parts.push_back(comparer.tables(nullptr, &table));
  for (const std::string& text : comparer.unused())
    throw UsageError(cat("--tolerance ", text,
                         ": nothing in these results is so named; a pattern is a path (",
                         "compress.kivi:4.kl, with * and ?), a column, TABLE.COLUMN or a table"));
  for (MovedPart& part : parts) std::ranges::stable_sort(part.moves, std::ranges::greater(), severity);
  return parts;
}

Table moves_table(const std::vector<MovedPart>& parts) {
  Table table{.name = "moved",
              .columns = {{"path", "", ColumnType::text},
                          {"what", "", ColumnType::text},
                          {"a"},
                          {"b"},
                          {"difference"},
                          {"difference_percent", "%"},
                          {"allowed"}},
              .key = {"path"}};
  const Null none{"not a number in both results"};
  for (const Move& move : worst_first(parts)) {
    const auto number = [&](const std::optional<double>& value) { return value ? Cell(*value) : Cell(none); };
    const bool known = move.a && move.b;
    const double difference = known ? *move.b - *move.a : 0;
    Cell percent = none;
    if (known && *move.a != 0)
      percent = 100 * difference / std::abs(*move.a);
    else if (known)
      percent = Null{"a is 0"};
    table.rows.push_back({move.path, move.what, number(move.a), number(move.b),
                          known ? Cell(difference) : Cell(none), percent,
                          known ? Cell(move.allowed) : Cell(none)});
  }
  return table;
}

std::vector<Check> checks_of(const std::vector<MovedPart>& parts) {
  std::vector<Check> checks;
  for (const MovedPart& part : parts) {
    Check check{.name = "--tolerance " + part.name};
    if (part.moves.empty()) {
      check.message = cat(part.name, ": nothing moved more than tolerated, of ", part.compared, " values");
    } else {
      check.verdict = Verdict::failed;
      check.message = cat(part.name, ": ", part.moves.size(), " of ", part.compared,
                          " values moved more than tolerated; the worst: ", in_words(part.moves.front()));
      for (size_t i = 0; i < std::min(part.moves.size(), moves_listed); ++i)
        check.details += (i == 0 ? "" : "\n") + in_words(part.moves[i]);
      if (part.moves.size() > moves_listed)
        check.details += cat("\n... and ", part.moves.size() - moves_listed, " more");
    }
    checks.push_back(std::move(check));
  }
  return checks;
}

std::string provenance_differences(const Result& a, const Result& b) {
  std::vector<std::string> names;
  collect(a.provenance, b.provenance, "", names);
  std::string text;
  for (const std::string& name : names)
    if (name != "commit" && name != "command_line" && name != "threads")
      text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace kvviz
