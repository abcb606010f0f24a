// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/layers.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// layers/layer_statistics: per layer Hoyer sparsity, effective rank, CKA of keys and values with its chance
/// level, scale, and the two legacy numbers. layers/layer_pruning_potential: share of small elements per
/// layer, measured against the layer itself and, legacy, against the whole cache.
std::vector<NamedFigure> layer_figures(const analysis::LayersResult& result,
                                       const analysis::LayersOptions& options);

}  // namespace kvviz::figures
