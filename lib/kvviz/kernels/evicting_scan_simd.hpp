// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace kvviz::kernels {

/// How the weights of the query heads that share a slot set become one number per key.
enum class Aggregate { mean, max };

/// Rows of unnormalised weights, e = exp(logit - maximum), of the query heads of one step; row h starts at
/// rows + h * stride (64-byte aligned) and its softmax is e * inverse[h].
struct StepWeights {
  const float* rows = nullptr;
  int64_t stride = 0;
  const float* inverse = nullptr;
  int64_t heads = 1;
};

/// A query against keys that are rotated while they are read (RoPE on pairs of channels p and p + pairs).
struct RotatedProduct {
  const float* query = nullptr;   ///< [head_dim], rotated and scaled already
  const float* keys = nullptr;    ///< [columns, stride], not rotated
  const int32_t* rank = nullptr;  ///< [columns] the row of the tables that turns a key
  int64_t stride = 0, columns = 0, head_dim = 0, pairs = 0;
  const float* cosine = nullptr;  ///< [ranks, pairs]
  const float* sine = nullptr;
};

/// A row of attention weights over all keys, and which of them are held.
struct HeldProduct {
  const float* weights = nullptr;      ///< [keys]
  const int32_t* column_of = nullptr;  ///< [keys] -1: not held
  int64_t keys = 0;
  float demand = 0;  ///< > 0
};
struct HeldWeights {
  double mass = 0;      ///< sum of the weights of held keys
  int64_t demands = 0;  ///< weights >= demand
  int64_t hits = 0;     ///< those of held keys
};

/// The vector kernels of the evicting scan, for the best instruction set of this CPU. Arrays of weights,
/// scores, positions and columns are 64-byte aligned and readable, and outputs writable, up to a multiple of
/// 16 elements.
struct EvictingScanSimd {
  /// out[c] = mean or maximum over the heads of e[h][c] inverse[h].
  void (*aggregate)(const StepWeights& weights, int64_t columns, Aggregate how, float* out) = nullptr;

  /// score[c] += weight[c], in f64.
  void (*add)(const float* weight, int64_t columns, double* score) = nullptr;

  /// The column with the lowest score of those with begin <= position < end; of equal scores the lowest
  /// position. NaN counts as the highest score. -1 when there is no such column.
  int64_t (*lowest)(const double* score, const double* position, int64_t columns, double begin,
                    double end) = nullptr;

  HeldWeights (*held)(const HeldProduct& product) = nullptr;

  /// The sum of the `count` largest of `size` values in [0, 1], in f64.
  double (*largest_sum)(const float* values, int64_t size, int64_t count) = nullptr;

  /// logits[c] = query . R(rank[c]) key_c, NaN where that is infinite.
  void (*rotated_logits)(const RotatedProduct& product, float* logits) = nullptr;
};

/// Chosen at the first call; hwy::SetSupportedTargetsForTest changes the choice.
const EvictingScanSimd& evicting_scan_simd();

}  // namespace kvviz::kernels
