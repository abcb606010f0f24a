// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// The policies of these names, of which "all" stands for all. Throws UsageError.
std::vector<policy::Policy> policies_named(const std::vector<std::string>& names);

/// Every policy at every budget, `full` once; all names and budgets are checked. Throws UsageError. `config`
/// is that of --budget-table.
std::vector<Simulation> simulations_of(const SimulateOptions& options, const ModelConfig& config);

/// The settings of the policies.
policy::PolicyOptions policy_options(const EvictionOptions& options, const std::string& gqa_agg,
                                     uint64_t seed);

/// The settings that all simulations share; `prompt` and `score_from` are each text's own.
SimulationOptions settings_of(const SimulateOptions& options, const ModelConfig& config);

/// The effective eviction options, for provenance.
void add_options(nlohmann::ordered_json& effective, const EvictionOptions& options);

/// Tokens of a text that are read before the first eviction.
int64_t prompt_of(const SimulateOptions& options, int64_t tokens);

/// What a run's simulations are, the same for all texts.
struct SimulatePlan {
  const SimulateOptions& options;
  const ModelConfig& config;
  std::vector<Simulation> simulations;
  SimulationOptions settings;
  std::string budget_table;  ///< SHA-256 of --budget-table; empty: none
};
SimulatePlan plan_simulations(const SimulateOptions& options, const ModelConfig& config);

/// The first prediction of a text that counts: --score-from, or where every budget that evicts at all has
/// begun to, for up to there nothing differs.
int64_t first_scored(const SimulatePlan& plan, int64_t tokens);

/// Throws UsageError where a text of so many tokens is too short for the options: nothing is left to predict,
/// or sinks and recent keys do not fit in a budget.
void check_length(const SimulatePlan& plan, int64_t tokens);

}  // namespace kvviz
