// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/compression.hpp"
#include "kvviz/analysis/kivi_errors.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Coded caches as tidy tables; definitions of the numbers are in analysis/compression.hpp.

Table compress_table(const analysis::CompressionStudy& study);         ///< key: method; fewest bytes last
Table compress_layers_table(const analysis::CompressionStudy& study);  ///< key: method, layer
Table compress_heads_table(const analysis::CompressionStudy& study);   ///< key: method, layer, head

/// What each text lost; key: text, method.
Table compress_texts_table(const analysis::CompressionStudy& study);

/// Those on the frontier, from the fewest bytes.
Table compress_frontier_table(const analysis::CompressionStudy& study);  ///< key: method

/// A row a layer.
Table compress_recommendation_table(const analysis::Recommendation& recommendation);

/// KIVI's Table 2: a row a side and axis, and one a layer of these.
Table kivi_table(const analysis::KiviStudy& study);
Table kivi_layers_table(const analysis::KiviStudy& study);

}  // namespace kvviz::tables
