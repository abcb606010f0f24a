// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/similarity.hpp"
#include "kvviz/plot/figure.hpp"

namespace kvviz::figures {

/// Positions shown and what marks them, for axes of tokens.
struct TokenAxis {
  double first = 0, step = 1;
  std::vector<std::string> names;  ///< empty: positions as numbers
};

/// The trees of keys and of values, one above the other.
plot::Figure dendrogram_figure(const analysis::SimilarityResult& result);

/// P14: keys above the diagonal, values below. P15: each in a square of its own. P16: mean |x| of tokens by
/// channel.
plot::Figure token_matrix_figure(const analysis::SimilarityResult& result,
                                 std::span<const std::string> texts);
plot::Figure token_matrices_figure(const analysis::SimilarityResult& result,
                                   std::span<const std::string> texts);
plot::Figure token_channels_figure(const analysis::SimilarityResult& result,
                                   std::span<const std::string> texts);

/// P17: the groups of channels of all heads, the largest first; no panels where there are no groups.
plot::Figure channel_groups_figure(const analysis::SimilarityResult& result);

/// "Keys: 3 of 4 layers in 1 group".
std::string grouped(analysis::Half half, const analysis::Grouping& grouping, const std::string& items);

/// What part of the keys' similarity is position; empty when they are not rotated.
std::string rope_caption(const analysis::SimilarityResult& result);

/// A square matrix of signed numbers, -1 to 1, white at 0.
plot::Heatmap signed_matrix(const std::vector<double>& values, int64_t items, const std::string& label);

}  // namespace kvviz::figures
