// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/similarity.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

/// "keys", "values".
const char* name_of(analysis::Half half);

Table savings_table(const analysis::SimilarityResult& result);
Table similar_layers_table(const analysis::SimilarityResult& result);
Table layer_pairs_table(const analysis::SimilarityResult& result);
Table layer_prediction_table(const analysis::SimilarityResult& result);
Table similar_heads_table(const analysis::SimilarityResult& result);
Table channel_correlation_table(const analysis::SimilarityResult& result);
/// `texts`: of all tokens of the text.
Table similar_tokens_table(const analysis::SimilarityResult& result, std::span<const std::string> texts);
Table query_heads_table(const analysis::SimilarityResult& result);

/// All of them, in this order; those over layers, predictions and attention only where there are rows.
std::vector<Table> similarity_tables(const analysis::SimilarityResult& result,
                                     std::span<const std::string> texts);

}  // namespace kvviz::tables
