// SPDX-License-Identifier: MIT
#include "kvviz/model/memory.hpp"

#include <algorithm>

namespace kvviz {

ModelMemory model_memory(const ModelConfig& config, int64_t tokens, int64_t weight_bytes) {
  constexpr int64_t f32 = 4, mlp_rows = 2048, logit_rows = 256;
  int64_t widest_attention = 0, widest_mlp = 0;
  for (const LayerConfig& layer : config.layers) {
    // Queries before and after RoPE and the output of attention; keys before and after it, and values.
    widest_attention = std::max(widest_attention, 3 * (layer.heads + layer.kv_heads) * layer.head_dim);
    widest_mlp = std::max(widest_mlp, (config.gated_mlp ? 2 : 1) * layer.active_mlp_dim());
  }
  const int64_t states = 3 * config.hidden;  // the residual stream, its norm, and what is added to it
  return {.weights = config.parameters() * weight_bytes,
          .cache = tokens * config.cache_bytes_per_token(f32),
          .working = f32 * (tokens * (states + widest_attention) + std::min(tokens, mlp_rows) * widest_mlp +
                            std::min(tokens, logit_rows) * config.vocabulary)};
}

}  // namespace kvviz
