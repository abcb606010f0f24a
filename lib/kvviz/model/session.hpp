// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// One sequence running through a decoder with its full KV cache: the first call of extend() is the prefill,
/// later ones decode. Prefill of n tokens and n steps of one token compute the same (up to rounding).
class Session {
 public:
  /// What to watch while tokens run through; all optional.
  struct Watch {
    kernels::AttentionRequest attention;
    /// Gets a layer's statistics, one entry a query head, when attention.statistics is set.
    std::function<void(int layer, std::vector<kernels::HeadAttention>)> on_attention;
    std::function<void(int layer)> on_layer;  ///< after each layer's attention, for progress
    Probe probe;
  };

  explicit Session(const Decoder& decoder);

  /// Runs the ids after those already in the cache. Hidden states after the final norm, [ids, hidden]. No
  /// gradients.
  at::Tensor extend(std::span<const int32_t> ids, const Watch& watch = {});

  int64_t tokens() const { return tokens_; }

  /// The cache of the first `tokens` tokens as views, keys after RoPE (causal caches only grow, so a prefix
  /// is an exact snapshot). Token ids and text are the caller's to fill.
  KvCache cache(int64_t tokens) const;

 private:
  struct Store {
    at::Tensor key, value;  ///< [kv_heads, capacity, head_dim]
  };
  at::Tensor attend(const LayerQkv& x, const Watch& watch);

  const Decoder& decoder_;
  std::vector<Store> stores_;
  int64_t tokens_ = 0;
};

}  // namespace kvviz
