// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/analysis/compression.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Below compress/: frontier (bytes per token against the increase of perplexity, a line a family, the Pareto
/// set ringed and named), and error_by_layer (error of the attention output, method x layer). `what`: model
/// and text, before the study's own numbers in every subtitle.
std::vector<NamedFigure> compress_figures(const analysis::CompressionStudy& study,
                                          const std::string& what = {});

}  // namespace kvviz::figures
