// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// An eviction, and of which simulation and text.
struct LoggedEviction {
  int32_t simulation, text, layer, kv_head, query_head, step, position;
};

struct SimulateRun {
  analysis::SimulationStudy study;
  std::vector<KeyUse> keys;  ///< of the first text under the full cache
  std::vector<LoggedEviction> log;
  SubjectOrigin origin;
};

/// Every policy at every budget, `full` once; all names and budgets are checked. Throws UsageError.
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

/// Runs the texts one by one and takes their results together.
SimulateRun run_simulations(const Runner& runner, std::span<const TextInput> texts,
                            std::span<const Simulation> simulations, const SimulateOptions& options);

/// Large arrays: what the first text's keys got with the full cache, and the eviction log.
void write_simulate_arrays(const std::filesystem::path& file, const SimulateRun& run);

}  // namespace kvviz
