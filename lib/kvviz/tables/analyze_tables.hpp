// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Analysis results as tidy tables; definitions of the numbers are in the headers of the analyses. Columns
// that begin with `legacy` are those of the tool that kvviz replaces.

Table layers_table(const analysis::LayersResult& result);  ///< "layers", key: layer
Table heads_table(const analysis::HeadsResult& result);    ///< "heads", key: layer, head
Table tokens_table(const analysis::TokensResult& result, std::span<const std::string> texts);  ///< key: token
Table outliers_table(const analysis::ChannelsResult& result);    ///< "channel_outliers", largest first
Table dimensions_table(const analysis::ChannelsResult& result);  ///< "legacy_dimensions", key: dimension
Table quantiles_table(
    const analysis::DistributionResult& result);  ///< "magnitude_quantiles", key: layer, half, share
Table attention_heads_table(const analysis::AttentionResult& result);     ///< key: layer, head (query heads)
Table attention_kv_heads_table(const analysis::AttentionResult& result);  ///< key: layer, kv_head
Table attention_layers_table(const analysis::AttentionResult& result);    ///< key: layer
Table top_keys_table(const analysis::AttentionResult& result,
                     std::span<const std::string> texts);  ///< heaviest first

const char* name_of(analysis::HeadClass head_class);  ///< "sink", "local", "global", "mixed"

}  // namespace kvviz::tables
