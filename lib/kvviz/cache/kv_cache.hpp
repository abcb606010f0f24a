// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kvviz {

enum class KeyBasis { pre_rope, post_rope };

/// How RoPE pairs the channels of a key: none (learned positions), half (d with d + rotary/2) or interleaved
/// (2f with 2f+1), over the first `rotary_dim` channels.
enum class RopePairing { none, half, interleaved };

/// One layer's cache. Layers may differ in every number.
struct LayerKv {
  at::Tensor key;       ///< [kv_heads, tokens, head_dim], f32, f16 or bf16, CPU
  at::Tensor value;     ///< [kv_heads, tokens, head_dim], same dtype
  int query_heads = 0;  ///< 0: not known (a cache without its model)
  int window = 0;       ///< sliding window in tokens, 0: none

  int64_t kv_heads() const { return key.size(0); }
  int64_t tokens() const { return key.size(1); }
  int64_t head_dim() const { return key.size(2); }
  int64_t bytes() const { return static_cast<int64_t>(key.nbytes() + value.nbytes()); }
};

/// The tokens that fill a cache: id, position and the piece of text of each.
struct TokenInfo {
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  std::vector<std::string> text;
};

/// Borrows a cache: copying it never copies a tensor.
struct KvView {
  std::span<const LayerKv> layers;
  const TokenInfo* tokens = nullptr;
  KeyBasis basis = KeyBasis::post_rope;
  RopePairing pairing = RopePairing::none;
  int rotary_dim = 0;
};

/// Owns a cache.
struct KvCache {
  std::vector<LayerKv> layers;
  TokenInfo tokens;
  KeyBasis basis = KeyBasis::post_rope;
  RopePairing pairing = RopePairing::none;
  int rotary_dim = 0;

  KvView view() const { return {layers, &tokens, basis, pairing, rotary_dim}; }
  int64_t bytes() const;
};

/// Shapes agree (K with V, every layer with the tokens), dtypes are supported, nothing is empty; throws
/// DataError naming the layer. `source` names the cache in the message.
void validate(const KvView& cache, const std::string& source);

/// The key/value of a layer as dense f32 [kv_heads, tokens, head_dim] (no copy when it already is).
at::Tensor widened(const at::Tensor& tensor);

}  // namespace kvviz
