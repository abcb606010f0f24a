// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// weight_magnitude_distribution: magnitudes in logarithmic bins with the legacy threshold, pooled and per
/// layer, and the legacy histogram of equal bins.
std::vector<NamedFigure> distribution_figures(const analysis::DistributionResult& result);

}  // namespace kvviz::figures
