// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Sinks as tidy tables; definitions of the numbers are in analysis/sinks.hpp and analysis/sink_study.hpp.
// "sd" is over texts.

Table sink_heads_table(const analysis::SinkSummary& summary);   ///< key: layer, head (query heads)
Table sink_layers_table(const analysis::SinkSummary& summary);  ///< key: layer
Table sink_texts_table(const analysis::SinkStudy& study, const analysis::SinkRule& rule);  ///< key: text
Table sink_lengths_table(const analysis::SinkSummary& summary);                            ///< key: length
Table sink_sweep_table(const analysis::SinkSummary& summary);                              ///< key: threshold
/// Key: text; "all", then every text of `study`, of which `by_text` is.
Table sink_across_layers_table(const analysis::SinkStudy& study, const analysis::AcrossLayers& all,
                               std::span<const analysis::AcrossLayers> by_text);
Table sink_tokens_table(std::span<const analysis::LayerSinks> layers);  ///< key: layer, kind
Table sink_norms_table(std::span<const analysis::LayerSinks> layers);   ///< key: layer

}  // namespace kvviz::tables
