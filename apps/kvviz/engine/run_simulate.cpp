// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/budget_table.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/simulate_generate.hpp"
#include "kvviz/engine/simulate_needle.hpp"
#include "kvviz/engine/simulate_oneshot.hpp"
#include "kvviz/engine/simulate_output.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/engine/simulate_target.hpp"
#include "kvviz/figures/simulate_figures.hpp"
#include "kvviz/tables/simulate_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

nlohmann::ordered_json effective_options(const SimulateOptions& o) {
  nlohmann::ordered_json effective;
  add_options(effective, o.texts);
  effective.update({{"policies", o.policies},
                    {"budget", o.budgets},
                    {"budget-table", o.budget_table.string()},
                    {"mode", o.mode},
                    {"positions", o.positions},
                    {"prefill", o.prefill},
                    {"prompt-tokens", o.prompt_tokens},
                    {"gqa-agg", o.gqa_agg},
                    {"target", o.target},
                    {"generate", o.generate}});
  add_options(effective, o.eviction);
  effective["score-from"] =
      o.score_from ? nlohmann::ordered_json(*o.score_from) : nlohmann::ordered_json(nullptr);
  if (!o.needle.needle.empty())
    effective.update({{"needle", o.needle.needle},
                      {"question", o.needle.question},
                      {"answer", o.needle.answer},
                      {"needle-place", o.needle.place},
                      {"depths", o.needle.depths},
                      {"lengths", o.needle.lengths}});
  return effective;
}

/// Budgets that differ between layers or heads, as tables that --budget-table takes.
void write_budget_tables(const SimulateRun& run, const std::filesystem::path& out) {
  for (const analysis::PolicyOutcome& o : run.study.outcomes) {
    const auto& sets = o.sets;
    const bool varies = std::ranges::any_of(sets, [&](const auto& set) {
      return std::abs(set.final_entries - sets.front().final_entries) > 0.5;
    });
    if (!varies) continue;
    std::string name = cat("budgets_", o.policy, '_', o.budget, ".tsv");
    std::ranges::replace(name, ':', '-');
    write_budgets(out / "results" / name, sets);
  }
}

void check_texts(std::span<const TextInput> texts) {
  for (const TextInput& text : texts)
    require(text.tokens.ids.size() >= 4, text.description, " has ", text.tokens.ids.size(),
            " tokens, BOS included; a simulation needs at least 4");
}

int run(const SimulateOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  const std::optional<LossLimit> limit =
      o.target.empty() ? std::nullopt : std::optional(parse_limit(o.target));
  set_threads(o.call.threads);
  OpenedFolder opened = open_folder(o.model, o.call);
  const std::vector<Simulation> simulations = simulations_of(o, opened.config);
  settings_of(o, opened.config);
  const auto texts = read_texts(o.texts, *opened.tokenizer, opened.config, o.call);
  check_texts(texts);
  std::vector<NeedlePlace> places;
  if (!o.needle.needle.empty())
    places = needle_places(*opened.tokenizer, texts.front(), opened.config, o.needle);
  require<UsageError>(o.generate < opened.config.context - 1, "--generate ", o.generate,
                      " leaves no room for a text in the model's context of ", opened.config.context,
                      " tokens");
  const Runner runner = load_runner(std::move(opened), longest(texts) + o.generate);

  const SimulateRun simulated = run_simulations(runner, texts, simulations, o);
  Result result{.command = "simulate",
                .provenance = provenance_of(simulated.origin, o.call, effective_options(o))};
  result.summary = simulate_facts(simulated.study);
  result.tables = {tables::simulate_by_budget_table(simulated.study), tables::simulate_table(simulated.study),
                   tables::simulate_counters_table(simulated.study),
                   tables::simulate_heads_table(simulated.study),
                   tables::simulate_sets_table(simulated.study)};
  const std::string what = cat(short_name(simulated.origin.model), ", ", simulated.origin.text);
  if (!o.output.no_plots) delivery.figures = figures::simulate_figures(simulated.study, what);
  if (limit)
    result.tables.push_back(tables::targets_table(find_targets(runner, texts, simulations, *limit, o)));
  if (!places.empty()) {
    const auto cells = find_needle(runner, places, simulations, o);
    result.tables.push_back(tables::needle_table(cells));
    result.tables.push_back(tables::needle_sets_table(cells));
    if (!o.output.no_plots)
      std::ranges::move(figures::needle_figures(cells, what), std::back_inserter(delivery.figures));
  }
  if (o.generate > 0) result.tables.push_back(generated_table(runner, texts.front(), simulations, o));
  delivery.heading = cat(simulated.origin.model, ", ", simulated.origin.text);
  delivery.subtitle = what;
  delivery.shown_tables = {"simulate_by_budget", "targets", "needle", "generated"};
  delivery.shown_rows = 40;
  delivery.write_arrays = [&](const auto& file) {
    write_simulate_arrays(file, simulated);
    write_budget_tables(simulated, o.output.out);
  };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_simulate(const kvviz::SimulateOptions& options) {
  return kvviz::guarded(
      [&] { return options.mode == "oneshot" ? kvviz::run_oneshot(options) : kvviz::run(options); });
}
