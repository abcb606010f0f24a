// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// Softmax weights of chosen query heads of one layer, kept whole to be multiplied with other layers' values.
class FirstLayerPatterns {
 public:
  /// f32 weights of `heads` heads over n tokens: 4 n^2 bytes each.
  static int64_t bytes(int64_t heads, int64_t tokens) { return 4 * heads * tokens * tokens; }

  /// The layer's attention output, as streaming_attention gives it; keeps the weights of `heads`.
  at::Tensor attend(const LayerQkv& x, std::span<const int64_t> heads);

  /// out[heads[i]] = weights of query head heads[i] times values[i]; values [1, heads, tokens, head_dim],
  /// dense, out [1, query_heads, tokens, head_dim] with dense channels. Every head of `heads` was among those
  /// kept. 2 head_dim flops per visible pair.
  void multiply(std::span<const int64_t> heads, const at::Tensor& values, const at::Tensor& out) const;

  void clear() { weights_.clear(); }

 private:
  // By query head, [tokens and padding, row stride]; undefined where the head is not kept.
  std::vector<at::Tensor> weights_;
  int64_t tokens_ = 0, window_ = 0;
};

}  // namespace kvviz
