// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Simulated eviction as tidy tables; definitions of the numbers are in analysis/simulation.hpp.

Table simulate_table(const analysis::SimulationStudy& study);        ///< key: policy, budget
Table simulate_heads_table(const analysis::SimulationStudy& study);  ///< key: policy, budget, layer, head
/// "simulate_sets", key: policy, budget, layer, kv_head, first_head.
Table simulate_sets_table(const analysis::SimulationStudy& study);
Table targets_table(std::span<const analysis::TargetBudget> targets);  ///< key: policy, limit
/// Key: policy, budget, length, depth. Survival by layer is in needle_layers_table.
Table needle_table(std::span<const analysis::NeedleCell> cells);
Table needle_layers_table(std::span<const analysis::NeedleCell> cells);  ///< key: those, and layer

}  // namespace kvviz::tables
