// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/pruning.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Pruned caches as tidy tables; definitions of the numbers are in analysis/pruning.hpp and cache_outcome.hpp.

Table prune_table(const analysis::PruningStudy& study);         ///< key: removed
Table prune_layers_table(const analysis::PruningStudy& study);  ///< key: removed, layer
Table prune_heads_table(const analysis::PruningStudy& study);   ///< key: removed, layer, head (query heads)
Table prune_texts_table(const analysis::PruningStudy& study);   ///< key: text, removed

Table prune_sweep_table(const analysis::SweepStudy& study);    ///< key: removed; the least loss first
Table prune_metrics_table(const analysis::SweepStudy& study);  ///< key: metric, side; the largest |rho| first

}  // namespace kvviz::tables
