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

/// What to watch while tokens run through; all optional.
struct SessionWatch {
  kernels::AttentionRequest attention;
  int only_layer = -1;  ///< the layer whose attention is measured; -1: every layer's
  /// Gets a layer's statistics, one entry a query head, when attention.statistics is set.
  std::function<void(int layer, std::vector<kernels::HeadAttention>)> on_attention;
  /// Gets what a layer hands to its attention, before it runs; with all ids at once, as for statistics.
  std::function<void(const LayerQkv&)> on_qkv{};
  std::function<void()> on_layer;  ///< after each layer's attention of each piece, for progress
  Probe probe;
  bool all_hidden = true;  ///< false: extend() returns the hidden states of the last piece alone
};

/// One sequence running through a decoder with its full KV cache: the first call of extend() is the prefill,
/// later ones decode. Prefill of n tokens and n steps of one token compute the same (up to rounding).
class Session {
 public:
  using Watch = SessionWatch;

  explicit Session(const Decoder& decoder);

  /// Runs the ids after those already in the cache. Hidden states after the final norm, [ids, hidden]. No
  /// gradients. Long stretches run in pieces of at most `piece_tokens`, so that beside the weights, the cache
  /// and the returned states memory is bounded; statistics, on_qkv and probes see a layer of all ids at once,
  /// and then there is one piece.
  at::Tensor extend(std::span<const int32_t> ids, const Watch& watch = {});

  static constexpr int64_t piece_tokens = 2048;
  /// How many pieces extend() makes of so many ids.
  static int64_t pieces(int64_t ids, const Watch& watch);

  int64_t tokens() const { return tokens_; }

  /// The cache of the first `tokens` tokens as views, keys after RoPE (causal caches only grow, so a prefix
  /// is an exact snapshot). Token ids and text are the caller's to fill.
  KvCache cache(int64_t tokens) const;

 private:
  struct Store {
    at::Tensor key, value;  ///< [kv_heads, capacity, head_dim]
  };
  at::Tensor attend(const LayerQkv& x, const Watch& watch);
  at::Tensor extend_piece(std::span<const int32_t> ids, int64_t length, const Watch& watch);

  const Decoder& decoder_;
  std::vector<Store> stores_;
  int64_t tokens_ = 0;
};

}  // namespace kvviz
