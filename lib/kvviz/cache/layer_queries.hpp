// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kvviz {

/// What attention needs of a layer beside queries, keys and the window.
struct AttentionTerms {
  double scale = 1;    ///< logits are scale * q.k
  double softcap = 0;  ///< softcap * tanh(logit / softcap), after the bias of ALiBi; 0: none
  /// [query_heads], or empty: slope * (position of the key - position of the query) is added to the scaled
  /// logit.
  std::vector<float> alibi_slopes = {};
};

/// The queries of one layer, beside its LayerKv. With keys after RoPE attention can be computed again.
struct LayerQueries {
  at::Tensor query;  ///< [query_heads, tokens, head_dim], after RoPE; dtype and CPU as the layer's keys
  AttentionTerms terms;
};

/// How well the model predicted the text of a cache: entry i judges the prediction of token i + 1.
struct TokenLosses {
  std::vector<double> nll;          ///< [tokens - 1] -ln p(token), nats
  std::vector<unsigned char> top1;  ///< [tokens - 1] 1 where the most likely token is the right one
};

/// The scale is finite and positive in f32, the softcap finite and 0 or more, the slopes finite and one a
/// query head. Throws DataError that begins with `where`.
void validate(const AttentionTerms& terms, int64_t query_heads, const std::string& where);

/// As many as tokens - 1 of each, finite. Throws DataError that begins with `where`.
void validate(const TokenLosses& losses, int64_t tokens, const std::string& where);

}  // namespace kvviz
