// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/heads.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// heads/head_sparsity: Hoyer and legacy sparsity per (layer, KV head). heads/head_pruning_potential: heads
/// ranked by effective rank, and the legacy average of a head index over the layers.
/// heads/pruning_heatmap_by_layer_head: share of small elements and effective rank per (layer, KV head).
std::vector<NamedFigure> head_figures(const analysis::HeadsResult& result,
                                      const analysis::HeadsOptions& options);

}  // namespace kvviz::figures
