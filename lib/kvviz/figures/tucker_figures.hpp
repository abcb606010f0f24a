// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Below tucker/: tucker_components (|core| and the factors of tokens and channels of one layer),
/// layer_sensitivity (error by layer, and the loss when one layer alone is decomposed), error_curves (one
/// mode cut at a time), and of a sweep rank_sensitivity (ratio, errors and loss by rank) and frontier (bytes
/// against loss, beside the SVD of each head). `what`: model and text, before the study's own numbers.
std::vector<NamedFigure> tucker_figures(const analysis::TuckerStudy& study, const std::string& what = {});

}  // namespace kvviz::figures
