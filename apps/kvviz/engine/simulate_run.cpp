// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_run.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/engine/budget_table.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

/// A sum is the mean times the heads: it orders keys alike, and as the mean it is a share of the weight,
/// which rules with a threshold compare with.
kernels::Aggregate aggregate_of(const std::string& name) {
  return name == "max" ? kernels::Aggregate::max : kernels::Aggregate::mean;
}

policy::Policy policy_named(const std::string& name) {
  try {
    return policy::find_policy(name);
  } catch (const UsageError& error) {
    std::vector<std::string> names;
    for (const policy::PolicyInfo& info : policy::policies()) names.emplace_back(info.name);
    const std::string meant = likely_meant(name, names);
    throw UsageError(cat(error.what(), meant.empty() ? "" : cat("; did you mean ", meant, "?")));
  }
}

}  // namespace

std::vector<policy::Policy> policies_named(const std::vector<std::string>& names) {
  std::vector<policy::Policy> chosen;
  for (const std::string& name : names) {
    if (name == "all") {
      for (const policy::PolicyInfo& info : policy::policies())
        chosen.push_back(policy::find_policy(info.name));
    } else {
      chosen.push_back(policy_named(name));
    }
  }
  return chosen;
}

std::vector<Simulation> simulations_of(const SimulateOptions& o, const ModelConfig& config) {
  std::vector<policy::Budget> budgets;
  if (o.budget_table.empty()) {
    for (const std::string& text : o.budgets) {
      policy::Budget budget = policy::parse_budget(text);
      require<UsageError>(std::ranges::count(budgets, budget.text, &policy::Budget::text) == 0,
                          "--budget names ", budget.text, " twice");
      budgets.push_back(std::move(budget));
    }
  } else {
    budgets.push_back({.tokens = std::ranges::max(read_budgets(o.budget_table, config)), .text = "table"});
  }
  std::vector<Simulation> all;
  for (const policy::Policy& one : policies_named(o.policies)) {
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

SimulatePlan plan_simulations(const SimulateOptions& o, const ModelConfig& config) {
  return {.options = o,
          .config = config,
          .simulations = simulations_of(o, config),
          .settings = settings_of(o, config),
          .budget_table = o.budget_table.empty() ? "" : sha256(read_input(o.budget_table))};
}

int64_t first_scored(const SimulatePlan& plan, int64_t tokens) {
  if (plan.options.score_from) return *plan.options.score_from;
  int64_t first = 0;
  for (const Simulation& simulation : plan.simulations) {
    const int64_t budget = policy::resolve(simulation.budget, tokens);
    if (budget < tokens) first = std::max(first, budget + 1);
  }
  first = std::max(first, prompt_of(plan.options, tokens));
  return first < tokens - 1 ? first : 0;
}

void check_length(const SimulatePlan& plan, int64_t tokens) {
  prompt_of(plan.options, tokens);
  const int64_t first = first_scored(plan, tokens);
  require<UsageError>(first < tokens - 1, "--score-from ", first, " leaves nothing of a text of ", tokens,
                      " tokens");
  const auto layers = std::ssize(plan.config.layers);
  for (const Simulation& simulation : plan.simulations) {
    for (int64_t l = 0; l < layers; ++l) {
      const LayerConfig& layer = plan.config.layers[static_cast<size_t>(l)];
      policy::layer_splits(
          simulation.policy, plan.settings.policy,
          {.query_heads = layer.heads, .kv_heads = layer.kv_heads, .head_dim = layer.head_dim},
          {.layer = l,
           .layers = layers,
           .budget = policy::resolve(simulation.budget, tokens),
           .tokens = tokens});
    }
  }
}

}  // namespace kvviz
