// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Below prune/: variants (loss, bytes, time of a decoded token, one bar a removal) and error_by_layer (error
/// of the attention output, removal x layer). `what`: model and text, before the study's own numbers in every
/// subtitle.
std::vector<NamedFigure> prune_figures(const analysis::PruningStudy& study, const std::string& what = {});

/// Below prune/: sweep_layers, sweep_heads or sweep_channels (what removing each one costs, beside the
/// metrics that foretell it best), metrics (rank correlations of all metrics) and metric_scatter (the best of
/// them, a point an item).
std::vector<NamedFigure> sweep_figures(const analysis::SweepStudy& study, const std::string& what = {});

}  // namespace kvviz::figures
