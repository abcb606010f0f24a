// SPDX-License-Identifier: MIT
#include "bench/gpt2_small.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include "bench/bench_data.hpp"

namespace kvviz::bench {

ModelConfig gpt2_small(int64_t context) {
  ModelConfig config{.architecture = "GPT2LMHeadModel",
                     .hidden = 768,
                     .vocabulary = 50257,
                     .context = context,
                     .norm = NormKind::layer,
                     .position = PositionKind::learned,
                     .activation = Activation::gelu_tanh,
                     .gated_mlp = false,
                     .attention_bias = true,
                     .output_bias = true,
                     .mlp_bias = true,
                     .tied_head = true};
  config.layers.assign(
      12, {.heads = 12, .kv_heads = 12, .head_dim = 64, .mlp_dim = 3072, .attention_scale = 0.125});
  return config;
}

Decoder random_decoder(const ModelConfig& config) {
  ModelWeights weights;
  for (const WeightSlot& slot : weight_slots(config, weights)) {
    const bool norm = slot.name.find("norm") != std::string::npos;
    *slot.target = norm ? at::ones(slot.shape) : at::randn(slot.shape).mul_(0.02);
  }
  if (config.tied_head) weights.head.weight = weights.embedding;
  return {config, std::move(weights)};
}

double forward_flops(const ModelConfig& config, int64_t tokens) {
  double flops = 2.0 * static_cast<double>(config.hidden * config.vocabulary * tokens);
  for (const LayerConfig& layer : config.layers) {
    const int64_t attention = 2 * (layer.heads + layer.kv_heads) * layer.head_dim;
    const int64_t mlp = (config.gated_mlp ? 3 : 2) * layer.mlp_dim;
    flops += 2.0 * static_cast<double>(config.hidden * (attention + mlp) * tokens);
    flops += causal_flops(layer.heads, tokens, layer.head_dim);
  }
  return flops;
}

}  // namespace kvviz::bench
