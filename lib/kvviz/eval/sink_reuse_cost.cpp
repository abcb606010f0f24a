// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/eval/sink_reuse.hpp"

namespace kvviz {
namespace {

double visible_pairs(int64_t tokens, int64_t window) {
  const auto n = static_cast<double>(tokens), w = static_cast<double>(window);
  return window > 0 && window < tokens ? w * (w + 1) / 2 + (n - w) * w : n * (n + 1) / 2;
}

double reach(int64_t tokens, int64_t window) {
  return static_cast<double>(window > 0 ? std::min(tokens, window) : tokens);
}

/// Keys or values of one token of one KV head, f32.
double entry_bytes(const LayerConfig& layer) {
  return 4 * static_cast<double>(layer.head_dim);
}

/// One of the two products of attention, one query head.
double product_flops(const LayerConfig& layer, int64_t tokens, int64_t window) {
  return 2 * static_cast<double>(layer.head_dim) * visible_pairs(tokens, window);
}

double linear_flops(const ModelConfig& config, const LayerConfig& layer, int64_t tokens) {
  const int64_t attention = (2 * layer.heads + 2 * layer.kv_heads) * layer.head_dim;
  const int64_t mlp = (config.gated_mlp ? 3 : 2) * layer.active_mlp_dim();
  return 2 * static_cast<double>(tokens * config.hidden) * static_cast<double>(attention + mlp);
}

double kept_flops(const ModelConfig& config, const LayerConfig& layer, int64_t tokens,
                  SinkSubstitute substitute) {
  if (substitute != SinkSubstitute::first_layer) return 0;
  return product_flops(layer, tokens, config.layers.front().window);
}

double kept_bytes(const ModelConfig& config, const LayerConfig& layer, int64_t tokens,
                  SinkSubstitute substitute) {
  switch (substitute) {
    case SinkSubstitute::first_layer:
      return entry_bytes(layer) * reach(tokens, config.layers.front().window);
    case SinkSubstitute::first_key:
      return 2 * entry_bytes(layer);
    case SinkSubstitute::zero:
      return 0;
  }
  return 0;
}

}  // namespace

AttentionCost attention_cost(const ModelConfig& config, int64_t tokens) {
  AttentionCost cost;
  for (const LayerConfig& layer : config.layers) {
    cost.flops += 2 * static_cast<double>(layer.heads) * product_flops(layer, tokens, layer.window);
    cost.model_flops += linear_flops(config, layer, tokens);
    cost.cache_bytes +=
        2 * static_cast<double>(layer.kv_heads) * entry_bytes(layer) * reach(tokens, layer.window);
  }
  cost.model_flops += cost.flops;
  return cost;
}

AttentionCost attention_cost(const ModelConfig& config, int64_t tokens, SinkSubstitute substitute,
                             const HeadFlags& flags) {
  AttentionCost cost = attention_cost(config, tokens);
  const double full_flops = cost.flops;
  const bool patterns = substitute == SinkSubstitute::first_layer;
  std::vector<bool> stored(static_cast<size_t>(config.layers.front().heads), false);
  for (size_t l = patterns ? 1 : 0; l < flags.size(); ++l) {
    const LayerConfig& layer = config.layers[l];
    const int64_t group = layer.heads / layer.kv_heads;
    for (int64_t kv = 0; kv < layer.kv_heads; ++kv) {
      int64_t replaced = 0;
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
        if (!flags[l][static_cast<size_t>(h)]) continue;
        ++replaced;
        if (patterns) stored[static_cast<size_t>(h)] = true;
      }
      cost.flops += static_cast<double>(replaced) * (kept_flops(config, layer, tokens, substitute) -
                                                     2 * product_flops(layer, tokens, layer.window));
      if (replaced == group)
        cost.cache_bytes += kept_bytes(config, layer, tokens, substitute) -
                            2 * entry_bytes(layer) * reach(tokens, layer.window);
    }
  }
  cost.model_flops += cost.flops - full_flops;
  if (patterns) {
    const auto n = static_cast<double>(tokens);
    cost.pattern_bytes = 4 * n * n * static_cast<double>(std::ranges::count(stored, true));
  }
  return cost;
}

}  // namespace kvviz
