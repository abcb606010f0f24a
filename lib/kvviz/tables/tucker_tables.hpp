// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Tucker decompositions as tidy tables; definitions of the numbers are in analysis/tucker_study.hpp.

Table tucker_table(const analysis::TuckerStudy& study);  ///< key: family, keys
/// key: family, keys, layer, head (query heads): at the ranks asked for; no rows without a model.
Table tucker_heads_table(const analysis::TuckerStudy& study);
/// key: text, family, keys: at the ranks asked for.
Table tucker_texts_table(const analysis::TuckerStudy& study);
Table tucker_layers_table(const analysis::TuckerStudy& study);  ///< key: layer, half
/// key: half, keys, mode, rank: error curves at a ladder of ranks, of all layers as one tensor and the least
/// and greatest of a layer.
Table tucker_ranks_table(const analysis::TuckerStudy& study);
Table tucker_layer_ranks_table(const analysis::TuckerStudy& study);  ///< key: layer, half, mode, rank
Table tucker_sensitivity_table(const analysis::TuckerStudy& study);  ///< key: layer
Table tucker_sweep_table(const analysis::TuckerStudy& study);        ///< key: family, keys, step

/// "4 x 16 x 8", or the range of each mode: "1 to 4 x 16 x 8". Heads, tokens, channels.
std::string ranks_text(const std::array<std::vector<double>, 3>& modes);

/// "key", "value".
std::string half_name(analysis::Half half);
/// "pre_rope", "post_rope"; "no RoPE" for a model without.
std::string basis_name(KeyBasis basis, bool has_rope = true);

}  // namespace kvviz::tables
