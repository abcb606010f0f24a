// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/compression.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// Coded caches as tidy tables; definitions of the numbers are in analysis/compression.hpp.

Table compress_table(const analysis::CompressionStudy& study);         ///< key: method; fewest bytes last
Table compress_layers_table(const analysis::CompressionStudy& study);  ///< key: method, layer
Table compress_heads_table(const analysis::CompressionStudy& study);   ///< key: method, layer, head

}  // namespace kvviz::tables
