// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/similarity.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Figures of `kvviz analyze_similarity`; `texts`: of all tokens. Those over pairs of layers and over
/// attention only where there are any.
std::vector<NamedFigure> similarity_figures(const analysis::SimilarityResult& result,
                                            std::span<const std::string> texts);

}  // namespace kvviz::figures
