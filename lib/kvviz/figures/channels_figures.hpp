// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/channels.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// embeddings/embedding_consistency: outlier channels per (layer, head), and the legacy sparsity of a channel
/// index. embeddings/sparse_dense_embedding_patterns: the most and the least variable channels over the
/// tokens. embeddings/embedding_importance_heatmap: largest relative RMS per layer and channel, the energy of
/// the RoPE frequencies, and the legacy importance.
std::vector<NamedFigure> channel_figures(const analysis::ChannelsResult& result,
                                         const analysis::ChannelsOptions& options);

}  // namespace kvviz::figures
