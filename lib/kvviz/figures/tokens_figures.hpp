// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// tokens/token_position_importance: what each token receives from attention (when measured), the norms of
/// its key and value, and the legacy score. tokens/token_sparsity_heatmap: relative norms and legacy
/// sparsity, layer by token. `texts`: the tokens' texts, one each, or empty.
std::vector<NamedFigure> token_figures(const analysis::TokensResult& result,
                                       std::span<const std::string> texts);

}  // namespace kvviz::figures
