// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// One layer's queries, keys and values as attention reads them, f32 [heads, tokens, head_dim]; the queries
/// are those of the last tokens.
struct LayerAttention {
  AttentionSpec spec;
  at::Tensor query, key, value;
};

/// What changed keys or values do to the attention of one layer whose queries are exact: KIVI's Table 2 (Liu
/// et al., ICML 2024, arXiv 2402.02750). Relative errors |x' - x| / |x|, Frobenius over all heads and
/// queries, sums in fp64; 0 is best.
struct AttentionErrors {
  double key_error = 0, value_error = 0;
  double weight_error = 0;  ///< of the softmax weights, 0 when the keys are as they were
  double output_error = 0;  ///< of weights times values
  /// Mean share of the visible keys whose weight is below 1 % of the row's greatest: what the paper calls
  /// sparsity of attention. It counts the exact weights.
  double sparsity = 0;
};

/// Weights and outputs of `exact` against those with `key` and `value` in their place. Memory: the weights of
/// a query head, queries x tokens; 4 head_dim flops a pair and head, twice.
AttentionErrors attention_errors(const LayerAttention& exact, const at::Tensor& key, const at::Tensor& value);

/// What is read in place of a layer's keys and values, f32 [kv_heads, tokens, head_dim].
using ChangeKv =
    std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& key, const at::Tensor& value)>;

/// attention_errors() of every change in every layer of a text, [change][layer], for the queries from token
/// `from` on. The model runs on what is exact: errors of a layer are its own. One forward pass.
std::vector<std::vector<AttentionErrors>> attention_errors(const Decoder& decoder,
                                                           std::span<const int32_t> ids, int64_t from,
                                                           std::span<const ChangeKv> changes);

}  // namespace kvviz
