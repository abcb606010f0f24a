// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Simulated eviction as tidy tables; definitions of the numbers are in analysis/simulation.hpp.

/// A budget as part of a name: "0_25" of "0.25".
std::string budget_name(std::string budget);

Table simulate_table(const analysis::SimulationStudy& study);  ///< key: policy, budget
/// "simulate_by_budget", key: policy. For reading: policies from the least loss to the greatest, then the
/// clairvoyant ones; for every budget a column delta_ppl_*, one of its standard error (se_*) and a recall_*.
Table simulate_by_budget_table(const analysis::SimulationStudy& study);
/// "simulate_counters", key: policy, budget. What simulators of caches count, summed over sets and texts.
Table simulate_counters_table(const analysis::SimulationStudy& study);
Table simulate_heads_table(const analysis::SimulationStudy& study);  ///< key: policy, budget, layer, head
/// "simulate_sets", key: policy, budget, layer, kv_head, first_head.
Table simulate_sets_table(const analysis::SimulationStudy& study);
/// "simulate_texts", key: text, policy, budget. Each text by itself.
Table simulate_texts_table(const analysis::SimulationStudy& study);
/// "targets", key: policy, limit.
Table targets_table(std::span<const analysis::TargetBudget> targets);
/// "needle", key: policy, budget, length, depth.
Table needle_table(std::span<const analysis::NeedleCell> cells);
/// "needle_sets", key: those, layer, kv_head, first_head.
Table needle_sets_table(std::span<const analysis::NeedleCell> cells);

}  // namespace kvviz::tables
