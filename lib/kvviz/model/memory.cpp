// SPDX-License-Identifier: MIT
#include "kvviz/model/memory.hpp"

#include <algorithm>

namespace kvviz {

ModelMemory model_memory(const ModelConfig& config, int64_t tokens, int64_t at_once, int64_t weight_bytes) {
  constexpr int64_t f32 = 4, mlp_rows = 2048, logit_rows = 256;
  constexpr int64_t statistics = 52;  // bytes that HeadAttention keeps of a query head and token
  int64_t widest_attention = 0, widest_mlp = 0, heads = 0;
  for (const LayerConfig& layer : config.layers) {
    // Queries before and after RoPE and the output of attention; keys before and after it, and values.
    widest_attention = std::max(widest_attention, 3 * (layer.heads + layer.kv_heads) * layer.head_dim);
    widest_mlp = std::max(widest_mlp, (config.gated_mlp ? 2 : 1) * layer.active_mlp_dim());
    heads += layer.heads;
  }
  const int64_t states = 3 * config.hidden;  // the residual stream, its norm, and what is added to it
  const int64_t pass =
      f32 * (at_once * (states + widest_attention) + std::min(at_once, mlp_rows) * widest_mlp +
             std::min(at_once, logit_rows) * config.vocabulary);
  return {.weights = config.parameters() * weight_bytes,
          .cache = tokens * config.cache_bytes_per_token(f32),
          .working = pass + pass / 2 + at_once * heads * statistics};
}

}  // namespace kvviz
