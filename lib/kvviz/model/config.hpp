// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"

namespace kvviz {

enum class NormKind { layer, rms };
enum class Activation { gelu, gelu_tanh, silu, relu };
enum class PositionKind { learned, rope };
enum class RopeScaling { none, linear, llama3 };

/// Rotary positions (Su et al. 2021). Frequency of pair f: theta^(-2f/rotary_dim), changed by the scaling:
/// linear divides every frequency by `factor`; llama3 divides the slow ones, keeps the fast ones and blends
/// between (wavelengths above original_context / low_freq_factor and below original_context /
/// high_freq_factor).
struct RopeConfig {
  double theta = 10000;
  int64_t rotary_dim = 0;
  RopePairing pairing = RopePairing::half;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_context = 0;
};

struct LayerConfig {
  int64_t heads = 0;     ///< query heads
  int64_t kv_heads = 0;  ///< heads of keys and values; divides `heads`
  int64_t head_dim = 0;
  int64_t mlp_dim = 0;
  int64_t window = 0;  ///< sliding window in tokens, 0: none
  double attention_scale = 1;
};

/// Everything the decoder needs to know about a model; nothing downstream asks which model it is.
struct ModelConfig {
  std::string architecture;  ///< as the model's files name it, for reports only
  int64_t hidden = 0;
  int64_t vocabulary = 0;
  int64_t context = 0;  ///< most positions the model was made for
  NormKind norm = NormKind::rms;
  double norm_eps = 1e-5;
  PositionKind position = PositionKind::rope;
  RopeConfig rope;
  Activation activation = Activation::silu;
  bool gated_mlp = true;  ///< down(act(gate(x)) * up(x)); else down(act(up(x)))
  bool attention_bias = false, output_bias = false, mlp_bias = false;
  bool tied_head = false;  ///< the head is the token embedding
  std::vector<LayerConfig> layers;

  int64_t parameters() const;
  /// K and V of one token over all layers, in bytes of `element_bytes` each.
  int64_t cache_bytes_per_token(int64_t element_bytes) const;
};

}  // namespace kvviz
