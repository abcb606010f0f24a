// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/attention.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// attention/sink_share, attention/entropy, attention/distance (layer x query head), attention/head_classes,
/// attention/mass_per_key (with token texts where there is room; `texts`: one a key, or empty) and
/// attention/top_mass.
std::vector<NamedFigure> attention_figures(const analysis::AttentionResult& result,
                                           std::span<const std::string> texts);

/// One query head's pooled map, as kernels::HeadAttention::map.
struct AttentionMap {
  int layer = 0, head = 0;
  std::string what;          ///< why this head is shown, e.g. its class
  std::vector<double> mean;  ///< [bins x bins]
  int64_t queries = 0, keys = 0;
};

/// Up to `count` query heads worth a look, as indices into result.heads, layer by layer: the extremes of sink
/// share, distance and entropy, then heads spread over the layers.
std::vector<size_t> typical_heads(const analysis::AttentionResult& result, size_t count);

/// Small multiples on one logarithmic colour scale. Throws DataError when a map is not square.
NamedFigure attention_map_figure(std::span<const AttentionMap> maps,
                                 const std::string& file = "attention/pooled_maps");

/// sinks/all_heads_attention_patterns, and ..._2 and so on: pages of up to 48 maps.
std::vector<NamedFigure> all_heads_figures(std::span<const AttentionMap> maps);

}  // namespace kvviz::figures
