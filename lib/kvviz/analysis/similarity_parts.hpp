// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/analysis/similarity.hpp"

namespace kvviz::analysis {

/// Keys or values of all heads at the tokens that are compared, f32.
struct SideSample {
  int64_t rows = 0;
  std::vector<std::vector<float>> heads;  ///< [head] row-major [rows, dims[head]]
  std::vector<int64_t> dims, layer_of;    ///< [head]
  int64_t layers = 0;
  stats::MatrixView head(int64_t h) const { return {heads[h].data(), rows, dims[h]}; }
  /// A layer's heads side by side, [rows, sum of dims].
  std::vector<float> layer(int64_t index, int64_t& cols) const;
};

/// Which of the last `common` tokens, those that all layers hold, are compared, and which are shown; counted
/// from the first of them.
struct ComparedTokens {
  int64_t common = 0;
  std::vector<int64_t> rows, positions;
};

/// `count` indices of [first, end), equally spaced from the first to the last; all of them where fewer.
std::vector<int64_t> equally_spaced(int64_t first, int64_t end, int64_t count);

/// Whether groups may be made of similarities that chance explains: such CKA excess counts as 0 (or what it
/// is below), NaN stays.
double above_chance(const stats::Alignment& alignment, double deviations);

/// The groups of items whose bytes are known, with the tree above.
Grouping grouping(std::span<const double> alike, std::span<const double> bytes, double threshold);

/// Layers and heads: CKA, subspaces, predictions, groups.
void compare_layers_and_heads(const SideSample& sample, std::span<const double> head_bytes,
                              const SimilarityOptions& options, SimilaritySide& side);

/// Channels: correlations within heads. `tokens`: that one channel is stored for.
void compare_channels(const SideSample& sample, std::span<const int64_t> tokens,
                      const SimilarityOptions& options, SimilaritySide& side);

/// r of all pairs of channels of row-major [rows, dim].
std::vector<double> picked_correlations(std::span<const float> rows, int64_t dim);

/// Tokens, summed up layer by layer.
class TokenComparison {
 public:
  TokenComparison(const ComparedTokens& tokens, int64_t dim);
  /// Keys or values of a layer, of whose tokens the last `common` count.
  void add(const HalfData& layer);
  void finish(double bytes_of_a_token, const SimilarityOptions& options, SimilaritySide& side) const;

 private:
  const ComparedTokens& tokens_;
  int64_t dim_;
  std::vector<double> products_, magnitudes_, heads_;
};

/// How alike query heads look at tokens, and which positions are sinks.
void compare_attention(std::span<const AttentionLayer> layers, const ComparedTokens& tokens,
                       SimilarityResult& result);

}  // namespace kvviz::analysis
