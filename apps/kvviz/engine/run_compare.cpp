// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/figures/sink_figures.hpp"
#include "kvviz/report/comparison.hpp"

namespace kvviz {
namespace {

const Table* find(const Result& result, const std::string& name) {
  const auto at = std::ranges::find(result.tables, name, &Table::name);
  return at == result.tables.end() ? nullptr : &*at;
}

std::vector<Table> tables_of(const Result& a, const Result& b) {
  std::vector<Table> all{compare_summaries(a, b)};
  for (const Table& table : a.tables) {
    const Table* other = find(b, table.name);
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
  const auto at = std::ranges::find(result.summary, key, &Fact::key);
  if (at == result.summary.end()) return analysis::kNone;
  return number_in(at->value).value_or(analysis::kNone);
}

figures::SinkComparisonRun run_of(const Result& result) {
  return {
      .label = short_name(text_of(result, "model")) + (text_of(result, "bos") == "off" ? " without BOS" : ""),
      .tokens_min = number_of(result, "tokens_min"),
      .tokens_max = number_of(result, "tokens_max"),
      .threshold = number_of(result, "threshold"),
      .rate = number_of(result, "sink_rate"),
      .rate_se = number_of(result, "sink_rate_se"),
      .p_later = number_of(result, "p_later"),
      .p_later_low = number_of(result, "p_later_low"),
      .p_later_high = number_of(result, "p_later_high"),
      .base = number_of(result, "p_later_base")};
}

int compare(const CompareOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  const Result a = read_result(o.results[0]), b = read_result(o.results[1]);
  require_comparable(a, b);
  const auto origin = [](const Result& result) {
    return cat(text_of(result, "model"), ", ", text_of(result, "text"));
  };
  delivery.heading = cat("a: ", origin(a), "\nb: ", origin(b));
  delivery.shown_tables = {"comparison", "comparison_sink_sweep", "comparison_sink_lengths"};
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
  result.tables = tables_of(a, b);
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_compare(const kvviz::CompareOptions& options) {
  return kvviz::guarded([&] { return kvviz::compare(options); });
}
