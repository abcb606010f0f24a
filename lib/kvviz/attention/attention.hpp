// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/kernels/attention.hpp"

namespace kvviz {

/// What distinguishes the attention of one layer from another's.
struct AttentionSpec {
  double scale = 1;    ///< logits are scale * q.k
  double softcap = 0;  ///< softcap * tanh(logit / softcap), after the bias of ALiBi; 0: none
  int64_t window = 0;  ///< sliding window in tokens; 0: none
  /// [query_heads], or empty: ALiBi adds slope * (position of the key - position of the query) to the scaled
  /// logit (alibi.hpp).
  std::vector<float> alibi_slopes = {};
  /// [keys] where the keys stood, ascending, for ALiBi where keys are missing between them; empty: 0, 1, ...
  /// Borrowed. The queries stand where the last keys do; the window goes by rows.
  std::span<const int32_t> key_positions = {};
  /// Where the attention of many queries is computed; few queries, as in decoding, stay on the CPU with the
  /// cache.
  at::Device device = at::kCPU;
};

/// The same for some of the query heads.
AttentionSpec of_heads(const AttentionSpec& spec, std::span<const int64_t> query_heads);

/// Causal attention of q [1, query_heads, queries, head_dim] over k, v [1, kv_heads, keys, head_dim] in f32;
/// the queries are the last of the keys. Streams over blocks of queries: nothing of size queries x keys is
/// kept. On the CPU by kernels::attention, else by device_attention; tensors in and out are on the CPU. Fills
/// `statistics`, one entry a query head, when the request asks for them. Not differentiable. Returns [1,
/// query_heads, queries, head_dim], a view of [queries, query_heads, head_dim] storage.
at::Tensor streaming_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionSpec& spec, const kernels::AttentionRequest& request,
                               std::vector<kernels::HeadAttention>* statistics);

/// The same from whole softmax matrices with plain tensor operations: differentiable, any batch, any float
/// dtype, memory O(queries x keys). For training, and the reference that streaming_attention is tested
/// against. `weights`, when given, receives [batch, query_heads, queries, keys].
at::Tensor eager_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionSpec& spec, at::Tensor* weights = nullptr);

}  // namespace kvviz
