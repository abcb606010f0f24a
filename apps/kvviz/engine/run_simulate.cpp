// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/budget_table.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/policy_options.hpp"
#include "kvviz/engine/simulate_generate.hpp"
#include "kvviz/engine/simulate_needle.hpp"
#include "kvviz/engine/simulate_oneshot.hpp"
#include "kvviz/engine/simulate_output.hpp"
#include "kvviz/engine/simulate_study.hpp"
#include "kvviz/engine/simulate_target.hpp"
#include "kvviz/engine/simulate_text.hpp"
#include "kvviz/figures/simulate_figures.hpp"
#include "kvviz/tables/over_texts.hpp"
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

/// Relative to the output folder.
std::filesystem::path budget_table(const std::string& policy, const std::string& budget) {
  std::string name = cat("budgets_", policy, '_', budget, ".tsv");
  std::ranges::replace(name, ':', '-');
  return std::filesystem::path("results") / name;
}

/// Those that write_budget_tables() may have made of a result.
std::vector<std::filesystem::path> budget_tables(const Result& result) {
  std::vector<std::filesystem::path> files;
  for (const Table& table : result.tables) {
    const auto column = [&](const char* name) {
      return static_cast<size_t>(std::ranges::find(table.columns, name, &Column::name) -
                                 table.columns.begin());
    };
    if (table.name != "simulate" || table.columns.size() <= std::max(column("policy"), column("budget")))
      continue;
    for (const auto& row : table.rows) {
      const auto* policy = std::get_if<std::string>(&row[column("policy")]);
      const auto* budget = std::get_if<std::string>(&row[column("budget")]);
      if (policy != nullptr && budget != nullptr) files.push_back(budget_table(*policy, *budget));
    }
  }
  return files;
}

/// Budgets that differ between layers or heads, as tables that --budget-table takes.
void write_budget_tables(const SimulateRun& run, const std::filesystem::path& out) {
  for (const analysis::PolicyOutcome& o : run.study.outcomes) {
    const auto& sets = o.sets;
    const bool varies = std::ranges::any_of(sets, [&](const auto& set) {
      return std::abs(set.final_entries - sets.front().final_entries) > 0.5;
    });
    const std::filesystem::path file = out / budget_table(o.policy, o.budget);
    std::error_code ignored;
    if (varies)
      write_budgets(file, sets);
    else if (std::filesystem::is_regular_file(file, ignored))
      std::filesystem::remove(file, ignored);  // an earlier run's would pass for this one's
  }
}

/// Before any weight is read: what is wrong with the needle, of the first text.
void check_needle(const SimulateOptions& o, int64_t first) {
  if (o.needle.needle.empty()) return;
  CallOptions quiet = o.call;
  quiet.quiet = true;
  const OpenedFolder opened = open_folder(o.model, quiet);
  const TextInput text = open_texts(o.texts, *opened.tokenizer, opened.config, quiet).read(first);
  needle_places(*opened.tokenizer, text, opened.config, o.needle);
}

TextRun::Request request_of(const SimulateOptions& o) {
  return {.command = "simulate",
          .call = o.call,
          .model = o.model,
          .texts = o.texts,
          .out = o.output.out,
          .check = [](const batch::PlannedText& text) {
            require(text.tokens >= 4, text.name, " has ", text.tokens,
                    " tokens, BOS included; a simulation needs at least 4");
          }};
}

/// The first text that is long enough for the options. Throws UsageError where none is.
int64_t first_text(const TextRun& texts, const SimulatePlan& plan) {
  check_length(plan, texts.longest());
  const auto fits = [&](const batch::PlannedText& text) {
    if (!text.failure.empty()) return false;
    try {
      check_length(plan, text.tokens);
      return true;
    } catch (const UsageError&) {
      return false;
    }
  };
  return std::ranges::find_if(texts.plan().texts, fits) - texts.plan().texts.begin();
}

SimulationRecord measure(const TextRun::Work& work, const SimulatePlan& plan, bool first) {
  try {
    check_length(plan, std::ssize(work.text.tokens.ids));
  } catch (const UsageError& error) {  // longer texts go with these options
    throw DataError(cat(work.text.description, ": ", error.what()));
  }
  SimulationRecord record = simulate_text(work.runner.model.decoder, work.text, plan, first);
  if (!first) return record;
  SimulateOptions o = plan.options;
  o.call.quiet = work.quiet;
  if (!o.needle.needle.empty()) {
    const auto places = needle_places(*work.runner.tokenizer, work.text, plan.config, o.needle);
    record.first->needle = find_needle(work.runner, places, plan.simulations, o);
  }
  if (o.generate > 0) record.first->generated = generate_texts(work.runner, work.text, plan.simulations, o);
  return record;
}

/// Measures the texts, unless they are there. The result is made of the records alone.
std::optional<SimulatePlan> measure_texts(TextRun& texts, const SimulateOptions& o) {
  if (!o.target.empty()) texts.require_whole("--target");
  if (texts.merging()) return std::nullopt;
  SimulatePlan plan = plan_simulations(o, texts.config());
  require<UsageError>(o.generate < plan.config.context - 1, "--generate ", o.generate,
                      " leaves no room for a text in the model's context of ", plan.config.context,
                      " tokens");
  const int64_t shown = first_text(texts, plan);
  check_needle(o, shown);
  texts.measure({.doing = "simulating the texts", .more_tokens = o.generate, .alone = !o.no_timings},
                [&](const TextRun::Work& work) { return measure(work, plan, work.index == shown); });
  return plan;
}

/// A line that names the policies without a budget that is good enough; empty: none.
std::string out_of_reach(std::span<const analysis::TargetBudget> targets) {
  std::string policies;
  for (const analysis::TargetBudget& target : targets)
    if (std::isnan(target.budget_tokens)) policies += (policies.empty() ? "" : ", ") + target.policy;
  return policies.empty() ? ""
                          : cat("\nNo budget of up to half of the shortest text stays within ",
                                targets.front().limit, " with ", policies);
}

std::vector<Table> tables_of(const SimulateRun& run) {
  std::vector<Table> all{
      tables::simulate_by_budget_table(run.study), tables::simulate_table(run.study),
      tables::simulate_texts_table(run.study),     tables::simulate_counters_table(run.study),
      tables::simulate_heads_table(run.study),     tables::simulate_sets_table(run.study)};
  if (run.first && !run.first->needle.empty()) {
    all.push_back(tables::needle_table(run.first->needle));
    all.push_back(tables::needle_sets_table(run.first->needle));
  }
  if (run.first && !run.first->generated.empty()) all.push_back(generated_table(run.first->generated));
  return all;
}

int run(const SimulateOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  const std::optional<LossLimit> limit =
      o.target.empty() ? std::nullopt : std::optional(parse_limit(o.target));
  if (o.budget_table.empty()) simulations_of(o, {});  // wrong names are found before the texts are read
  const std::vector<policy::Policy> policies = policies_named(o.policies);
  check_policy_options(policies, o.call);
  if (o.texts.probe == TextsOptions{}.probe) check_seed_of_policies(policies, o.call);
  set_threads(o.call.threads);
  TextRun texts(request_of(o));
  const std::optional<SimulatePlan> plan = measure_texts(texts, o);
  if (texts.only_a_shard()) return 0;

  const SimulateRun simulated = gather_simulations(texts, o);
  Result result{.command = "simulate", .provenance = texts.provenance(o.call, effective_options(o))};
  result.summary = simulate_facts(simulated.study);
  result.tables = tables_of(simulated);
  delivery.heading = cat(simulated.origin.model, ", ", simulated.origin.text);
  if (limit) {
    const auto targets = find_targets(texts.runner(), texts.texts(), plan->simulations, *limit, o);
    delivery.heading += out_of_reach(targets);
    result.tables.push_back(tables::targets_table(targets));
  }
  tables::add_over_texts(result, "simulate_texts", tables::judged_facts);
  texts.add_failures(result, delivery);
  const std::string what = cat(short_name(simulated.origin.model), ", ", simulated.origin.text);
  if (!o.output.no_plots) {
    delivery.figures = figures::simulate_figures(simulated.study, what);
    if (simulated.first && !simulated.first->needle.empty())
      std::ranges::move(
          figures::needle_figures(simulated.study, simulated.first->needle,
                                  cat(short_name(simulated.origin.model), ", ", simulated.first_name)),
          std::back_inserter(delivery.figures));
  }
  delivery.subtitle = what;
  delivery.shown_tables = {"simulate_by_budget", "targets", "needle", "generated"};
  delivery.shown_rows = 40;
  delivery.more_files = budget_tables;
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
