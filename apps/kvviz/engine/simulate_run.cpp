// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_run.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/budget_table.hpp"
#include "kvviz/engine/simulate_study.hpp"
#include "kvviz/eval/compare.hpp"
#include "kvviz/io/result_file.hpp"

namespace kvviz {
namespace {

kernels::Aggregate aggregate_of(const std::string& name) {
  if (name == "max") return kernels::Aggregate::max;
  return name == "sum" ? kernels::Aggregate::sum : kernels::Aggregate::mean;
}

/// Where every budget that evicts at all has begun to: up to there, nothing differs.
int64_t first_scored(const SimulateOptions& o, std::span<const Simulation> simulations, int64_t tokens) {
  if (o.score_from) return *o.score_from;
  int64_t first = 0;
  for (const Simulation& simulation : simulations) {
    const int64_t budget = policy::resolve(simulation.budget, tokens);
    if (budget < tokens) first = std::max(first, budget + 1);
  }
  first = std::max(first, prompt_of(o, tokens));
  return first < tokens - 1 ? first : 0;
}

/// The set whose first key gets most: what sinks do is to be seen there.
size_t shown_set(std::span<const KeyUse> keys) {
  return static_cast<size_t>(
      std::ranges::max_element(keys, {}, [](const KeyUse& use) { return use.later_mass.front(); }) -
      keys.begin());
}

/// The budget in the middle of those asked for, for figures of a single one.
std::string middle_budget(std::span<const Simulation> simulations) {
  std::vector<std::string> budgets;
  for (const Simulation& s : simulations)
    if (s.policy.name != "full" && std::ranges::count(budgets, s.budget.text) == 0)
      budgets.push_back(s.budget.text);
  return budgets.empty() ? "" : budgets[budgets.size() / 2];
}

void add_first_text(SimulateRun& run, const SimulationResult& result, std::span<const Simulation> simulations,
                    const TextInput& text) {
  const size_t shown = shown_set(result.keys);
  const KeptMost most = kept_most(result.keys[shown]);
  const auto tokens = std::ssize(text.tokens.ids);
  const std::string budget = middle_budget(simulations);
  for (size_t i = 0; i < simulations.size(); ++i) {
    if (simulations[i].budget.text != budget) continue;
    const SimulatedText& simulated = result.texts[i];
    const SimulatedSet& set = simulated.sets[shown];
    analysis::RetentionMap map{.policy = simulations[i].policy.name,
                               .budget = budget,
                               .layer = set.layer,
                               .kv_head = static_cast<int>(set.owner.kv_head),
                               .tokens = tokens,
                               .last_step = std::vector<int64_t>(static_cast<size_t>(tokens), tokens - 1),
                               .sinks = most.sinks,
                               .heavy = most.heavy};
    for (const kernels::Eviction& e : set.log) map.last_step[static_cast<size_t>(e.position)] = e.step;
    run.study.retention.push_back(std::move(map));
    analysis::TokenSurvival survival{.policy = simulations[i].policy.name,
                                     .budget = budget,
                                     .held = std::vector<double>(static_cast<size_t>(tokens), 0)};
    for (const SimulatedSet& one : simulated.sets)
      for (const int32_t key : one.kept)
        survival.held[static_cast<size_t>(key)] += 1 / static_cast<double>(simulated.sets.size());
    run.study.survival.push_back(std::move(survival));
  }
  run.study.first_text = text.tokens.text;
}

void add_log(SimulateRun& run, const SimulationResult& result, size_t text) {
  for (size_t i = 0; i < result.texts.size(); ++i) {
    for (const SimulatedSet& set : result.texts[i].sets) {
      for (const kernels::Eviction& e : set.log) {
        run.log.push_back({.simulation = static_cast<int32_t>(i),
                           .text = static_cast<int32_t>(text),
                           .layer = set.layer,
                           .kv_head = static_cast<int32_t>(set.owner.kv_head),
                           .query_head = static_cast<int32_t>(set.owner.first_query_head),
                           .step = e.step,
                           .position = e.position});
      }
    }
  }
}

std::string prefill_of(const SimulateOptions& o) {
  if (o.prefill == "stepwise") return o.prefill;
  return o.prompt_tokens > 0 ? cat("full, ", o.prompt_tokens, " tokens") : "full, half of each text";
}

}  // namespace

std::vector<Simulation> simulations_of(const SimulateOptions& o, const ModelConfig& config) {
  std::vector<policy::Policy> chosen;
  for (const std::string& name : o.policies) {
    if (name == "all") {
      for (const policy::PolicyInfo& info : policy::policies())
        chosen.push_back(policy::find_policy(info.name));
    } else {
      chosen.push_back(policy::find_policy(name));
    }
  }
  std::vector<policy::Budget> budgets;
  if (o.budget_table.empty()) {
    for (const std::string& text : o.budgets) {
      require<UsageError>(std::ranges::count(budgets, text, &policy::Budget::text) == 0, "--budget names ",
                          text, " twice");
      budgets.push_back(policy::parse_budget(text));
    }
  } else {
    budgets.push_back({.tokens = std::ranges::max(read_budgets(o.budget_table, config)), .text = "table"});
  }
  std::vector<Simulation> all;
  for (const policy::Policy& one : chosen) {
    const bool again =
        std::ranges::count(all, one.name, [](const Simulation& s) { return s.policy.name; }) > 0;
    require<UsageError>(!again, "--policies names ", one.name, " twice");
    if (one.name == "full") {
      all.push_back({one, policy::parse_budget("1.0")});
      continue;
    }
    for (const policy::Budget& budget : budgets) all.push_back({one, budget});
  }
  return all;
}

policy::PolicyOptions policy_options(const EvictionOptions& e, const std::string& gqa_agg, uint64_t seed) {
  return {.sinks = e.sinks,
          .recent = e.recent,
          .aggregate = aggregate_of(gqa_agg),
          .seed = seed,
          .per_query_head = e.per_query_head,
          .observation = e.observation,
          .kernel = e.kernel,
          .pool = e.pool == "max" ? policy::Pool::maximum : policy::Pool::average,
          .beta = e.beta,
          .floor = e.floor,
          .lag = e.lag,
          .future = e.future,
          .epsilon = e.epsilon,
          .refresh = e.refresh};
}

SimulationOptions settings_of(const SimulateOptions& o, const ModelConfig& config) {
  SimulationOptions settings;
  settings.policy = policy_options(o.eviction, o.gqa_agg, o.texts.seed);
  if (!o.budget_table.empty()) settings.policy.budgets = read_budgets(o.budget_table, config);
  settings.positions = o.positions == "cache" ? CachePositions::cache : CachePositions::original;
  settings.compare = !o.no_recall;
  check_positions(settings.positions, config);
  return settings;
}

void add_options(nlohmann::ordered_json& effective, const EvictionOptions& e) {
  effective.update({{"per-query-head", e.per_query_head},
                    {"observation", e.observation},
                    {"pool-kernel", e.kernel},
                    {"pool", e.pool},
                    {"pyramid-beta", e.beta},
                    {"floor", e.floor},
                    {"lag", e.lag},
                    {"future", e.future},
                    {"epsilon", e.epsilon},
                    {"refresh", e.refresh}});
  const auto add = [&](const char* name, const std::optional<int64_t>& value) {
    effective[name] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  add("sinks", e.sinks);
  add("recent", e.recent);
}

int64_t prompt_of(const SimulateOptions& o, int64_t tokens) {
  if (o.prefill == "stepwise") return 0;
  if (o.prompt_tokens == 0) return tokens / 2;
  require<UsageError>(o.prompt_tokens < tokens, "--prompt-tokens ", o.prompt_tokens,
                      " leaves nothing of a text of ", tokens, " tokens to be predicted");
  return o.prompt_tokens;
}

SimulateRun run_simulations(const Runner& runner, std::span<const TextInput> texts,
                            std::span<const Simulation> simulations, const SimulateOptions& o) {
  const ModelConfig& config = runner.model.decoder.config();
  SimulationOptions settings = settings_of(o, config);
  SimulateRun run;
  std::vector<OutcomeSum> sums(simulations.size());
  Progress progress("simulating the texts", std::ssize(texts), o.call.quiet);
  for (size_t t = 0; t < texts.size(); ++t) {
    const auto& ids = texts[t].tokens.ids;
    const auto tokens = std::ssize(ids);
    settings.prompt = prompt_of(o, tokens);
    settings.score_from = first_scored(o, simulations, tokens);
    require<UsageError>(settings.score_from < tokens - 1, "--score-from ", settings.score_from,
                        " leaves nothing of ", texts[t].description, ", which has ", tokens, " tokens");
    SimulationResult result = simulate(runner.model.decoder, ids, simulations, settings);
    std::vector<at::Tensor> hidden;
    for (const SimulatedText& text : result.texts) hidden.push_back(text.hidden);
    auto scores = compare_predictions(runner.model.decoder, result.full, hidden, ids);
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i].add(result.texts[i], result.keys, std::move(scores[i]), settings.score_from);
    if (o.eviction_log) add_log(run, result, t);
    if (t == 0) {
      add_first_text(run, result, simulations, texts[t]);
      run.study.score_from = settings.score_from;
      run.keys = std::move(result.keys);
    }
    run.study.tokens += tokens;
    progress.update(static_cast<int64_t>(t) + 1);
  }
  for (size_t i = 0; i < sums.size(); ++i)
    run.study.outcomes.push_back(sums[i].outcome(simulations[i], config));
  if (o.no_timings)
    for (auto& outcome : run.study.outcomes) outcome.scan_seconds = analysis::kNone;
  analysis::mark_frontier(run.study.outcomes);
  run.study.layers = static_cast<int>(config.layers.size());
  run.study.query_heads = static_cast<int>(config.layers.front().heads);
  run.study.kv_heads = static_cast<int>(config.layers.front().kv_heads);
  run.study.texts = std::ssize(texts);
  run.study.positions = o.positions;
  run.study.prefill = prefill_of(o);
  if (!run.study.outcomes.empty()) {
    run.study.full_nll = run.study.outcomes.front().nll - run.study.outcomes.front().delta_nll;
    run.study.full_ppl = run.study.outcomes.front().ppl - run.study.outcomes.front().delta_ppl;
  }
  run.origin = origin_of_all(runner, texts);
  return run;
}

void write_simulate_arrays(const std::filesystem::path& file, const SimulateRun& run) {
  io::ArrayFileWriter writer(file, "simulate");
  const auto sets = std::ssize(run.keys), tokens = std::ssize(run.keys.front().mass);
  const std::string head = sets == int64_t{run.study.layers} * run.study.kv_heads ? "kv_head" : "query_head";
  const int64_t shape[] = {run.study.layers, sets / run.study.layers, tokens};
  std::vector<float> mass;
  std::vector<int32_t> reads;
  for (const KeyUse& use : run.keys) {
    for (const double x : use.later_mass) mass.push_back(static_cast<float>(x));
    reads.insert(reads.end(), use.reads.begin(), use.reads.end());
  }
  writer.add({"access/attention_mass",
              {"layer", head, "token"},
              "",
              "first text, full cache: weight that later queries gave the key, aggregated over query heads"},
             shape, mass);
  writer.add(
      {"access/reads",
       {"layer", head, "token"},
       "steps",
       "first text, full cache: later steps that gave the key at least max(0.01, 2/(t+1)) of their weight"},
      shape, reads);
  if (!run.log.empty()) {
    std::vector<int32_t> rows;
    for (const LoggedEviction& e : run.log)
      rows.insert(rows.end(), {e.simulation, e.text, e.layer, e.kv_head, e.query_head, e.step, e.position});
    const int64_t log_shape[] = {std::ssize(run.log), 7};
    writer.add({"evictions",
                {"eviction", "column"},
                "",
                "columns: row of the table simulate, text, layer, KV head, first query head, step, position"},
               log_shape, rows);
  }
  writer.commit();
}

}  // namespace kvviz
