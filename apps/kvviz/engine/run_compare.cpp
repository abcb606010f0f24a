// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/figures/sink_figures.hpp"
#include "kvviz/report/comparison.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/report/moves.hpp"

namespace kvviz {
namespace {

std::vector<Table> tables_of(const Result& a, const Result& b) {
  std::vector<Table> all{compare_summaries(a, b)};
  for (const Table& table : a.tables) {
    const Table* other = find_table(b, table.name);
    if (other == nullptr || table.key.empty()) continue;
    Table joined = compare_tables(table, *other);
    if (!joined.rows.empty()) all.push_back(std::move(joined));
  }
  return all;
}

std::string text_of(const Result& result, const char* key) {
  return result.provenance.value(key, std::string("unknown"));
}

double number_of(const Result& result, const std::string& key) {
  const Fact* fact = find_fact(result, key);
  return fact == nullptr ? analysis::kNone : number_in(fact->value).value_or(analysis::kNone);
}

// Options that only random numbers have.
bool is_synthetic(const Result& result) {
  const auto options = result.provenance.find("options");
  return options != result.provenance.end() && options->is_object() && options->contains("synthetic");
}

/// So that no file of numbers passes for measured ones.
void add_sources(std::vector<Table>& tables, const Result& a, const Result& b) {
  for (Table& table : tables)
    for (const auto& [name, result] : {std::pair("source_a", &a), {"source_b", &b}}) {
      table.columns.push_back({name, "", ColumnType::text});
      for (auto& row : table.rows) row.emplace_back(is_synthetic(*result) ? "synthetic" : "measured");
    }
}

std::string label_of(const Result& result) {
  const std::string model = text_of(result, "model"), fit = "synthetic fitted to ";
  if (model.starts_with(fit)) return "fitted to " + short_name(model.substr(fit.size()));
  if (is_synthetic(result)) return model.substr(std::min(model.size(), model.find(' ') + 1));
  return short_name(model) + (text_of(result, "bos") == "off" ? " without BOS" : "");
}

std::string metric_of(const Result& result) {
  const Fact* fact = find_fact(result, "metric");
  const auto* name = fact == nullptr ? nullptr : std::get_if<std::string>(&fact->value);
  return name == nullptr ? "" : *name;
}

figures::SinkComparisonRun run_of(const Result& result) {
  return {.label = label_of(result),
          .tokens_min = number_of(result, "tokens_min"),
          .tokens_max = number_of(result, "tokens_max"),
          .threshold = number_of(result, "threshold"),
          .rate = number_of(result, "sink_rate"),
          .rate_se = number_of(result, "sink_rate_se"),
          .p_later = number_of(result, "p_later"),
          .p_later_low = number_of(result, "p_later_low"),
          .p_later_high = number_of(result, "p_later_high"),
          .base = number_of(result, "p_later_base"),
          .metric = metric_of(result),
          .synthetic = is_synthetic(result)};
}

std::string shown(const Cell& cell) {
  const auto number = number_in(cell);
  if (!number) return "none";
  const bool whole = *number == std::round(*number) && std::abs(*number) < 1e15;
  return whole ? to_console(Cell(static_cast<int64_t>(*number))) : to_console(cell);
}

// The facts one a line; each has its own unit, so that columns of equal decimals would hide what differs.
std::string side_by_side(const Table& comparison, int width) {
  enum Columns { fact, a, b, difference, error, label };
  constexpr int numbers = 46;
  const int labels = std::clamp(width - numbers, 12, 64);
  std::string text = fmt::format("{:<{}}{:>10}{:>10}{:>12}\n", "", labels, "a", "b", "b - a");
  for (const auto& row : comparison.rows) {
    const bool known = number_in(row[difference]).has_value();
    const std::string name = in_lines(std::get<std::string>(row[label]), labels - 2, 2);
    const size_t last = name.rfind('\n') + 1;  // 0: there is one line
    text += fmt::format("{}{:<{}}{:>10}{:>10}{:>12}", name.substr(0, last), name.substr(last), labels,
                        shown(row[a]), shown(row[b]), known ? shown(row[difference]) : "");
    if (number_in(row[error])) text += " +- " + shown(row[error]);
    text += '\n';
  }
  text.pop_back();
  return text;
}

std::vector<std::string> check_names(const CompareOptions& o) {
  std::vector<std::string> names;
  for (const std::string& text : o.tolerances) names.push_back("--tolerance " + text);
  return names;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

std::string listed(const std::vector<MovedPart>& parts) {
  constexpr size_t most = 40;
  const auto moves = worst_first(parts);
  if (moves.empty()) return "";
  std::string text = "\n\nMoved more than tolerated, the worst first\n";
  for (size_t i = 0; i < std::min(moves.size(), most); ++i) text += "  " + in_words(moves[i]) + '\n';
  if (moves.size() > most) text += cat("  ... and ", moves.size() - most, " more: table moved\n");
  text.pop_back();
  return text;
}

void add_facts(std::vector<Fact>& facts, const std::vector<MovedPart>& parts) {
  int64_t compared = 0, ignored = 0, moved = 0;
  for (const MovedPart& part : parts) {
    compared += part.compared;
    ignored += part.ignored;
    moved += std::ssize(part.moves);
  }
  facts.push_back({"compared_values", compared, "", "Values compared"});
  facts.push_back({"ignored_values", ignored, "", "  not compared: times, standard errors, what is ignored"});
  facts.push_back({"moved_values", moved, "", "  moved more than tolerated"});
}

/// The options of which the results have different values, one a line.
std::string options_apart(const Result& a, const Result& b) {
  const auto options_of = [](const Result& result) {
    const auto at = result.provenance.find("options");
    return at != result.provenance.end() && at->is_object() ? *at : nlohmann::ordered_json::object();
  };
  const auto of_a = options_of(a), of_b = options_of(b);
  auto all = of_a;
  all.update(of_b);
  const auto value = [](const nlohmann::ordered_json& options, const std::string& name) {
    const auto at = options.find(name);
    return at == options.end() ? "not there" : at->is_string() ? at->get<std::string>() : at->dump();
  };
  std::string text;
  for (const auto& [name, ignored] : all.items())
    if (value(of_a, name) != value(of_b, name))
      text += cat("\n--", name, ": ", value(of_a, name), " and ", value(of_b, name));
  return text;
}

/// What moved from a, the baseline, to b by more than is tolerated: facts, a table, checks.
void add_moves(Result& result, Delivery& delivery, const std::pair<const Result&, const Result&>& of,
               const std::vector<std::string>& tolerances) {
  const auto parts = moves_between(of.first, of.second, Tolerances(tolerances));
  delivery.checks = checks_of(parts);
  delivery.heading += listed(parts);
  result.tables.push_back(moves_table(parts));
  result.provenance["options"] = {{"tolerance", tolerances}};
  result.summary.push_back({"tolerance", joined(tolerances), "", "Tolerated"});
  add_facts(result.summary, parts);
  const std::string differs = provenance_differences(of.first, of.second);
  result.summary.push_back({"provenance_differs", differs.empty() ? std::string("nothing") : differs, "",
                            "The runs themselves differ in"});
}

int compare(const CompareOptions& o) {
  Tolerances{o.tolerances};  // refuses what cannot be read before anything is done
  Delivery delivery{.gates = check_output(o.output, Draws::maybe_not, check_names(o))};
  const Result a = read_result(o.results[0]), b = read_result(o.results[1]);
  require_comparable(a, b);
  const auto origin = [](const std::filesystem::path& file, const Result& result) {
    return cat(file.string(), ": ", text_of(result, "model"), ", ", text_of(result, "text"));
  };
  delivery.shown_tables = {"comparison_sink_sweep", "comparison_sink_lengths"};
  if (a.command == "sinks") {
    delivery.figures.push_back(figures::sink_comparison_figure(run_of(a), run_of(b)));
  }
  Result result{.command = "compare"};
  result.provenance = {{"command_line", o.call.command_line},
                       {"a", o.results[0].string()},
                       {"b", o.results[1].string()},
                       {"provenance_a", a.provenance},
                       {"provenance_b", b.provenance}};
  result.summary = {{"compared", a.command, "", "Results of the command"}};
  if (const std::string metric = metric_of(a); !metric.empty())
    result.summary.push_back({"metric", metric, "", "Score that decides in both"});
  for (const auto& [name, one] : {std::pair("a", &a), {"b", &b}})
    if (is_synthetic(*one))
      result.summary.push_back(
          {cat("source_", name), std::string("synthetic (random numbers)"), "", cat("Source of ", name)});
  result.tables = tables_of(a, b);
  delivery.heading =
      cat("a: ", origin(o.results[0], a), "\nb: ", origin(o.results[1], b), options_apart(a, b), "\n\n",
          side_by_side(result.tables.front(), terminal_width(STDOUT_FILENO)));
  if (!o.tolerances.empty()) add_moves(result, delivery, {a, b}, o.tolerances);
  if (is_synthetic(a) || is_synthetic(b)) add_sources(result.tables, a, b);
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_compare(const kvviz::CompareOptions& options) {
  return kvviz::guarded([&] { return kvviz::compare(options); });
}
