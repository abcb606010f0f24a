// SPDX-License-Identifier: MIT
#include "kvviz/model/weights.hpp"

#include <functional>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

class Slots {
 public:
  void tensor(at::Tensor& target, std::string name, std::vector<int64_t> shape) {
    list.push_back({&target, std::move(name), std::move(shape)});
  }
  void linear(Linear& target, const std::string& name, std::vector<int64_t> shape, bool biased) {
    const int64_t out = shape[0];
    tensor(target.weight, name + ".weight", std::move(shape));
    if (biased) tensor(target.bias, name + ".bias", {out});
  }
  void norm(Norm& target, const std::string& name, int64_t size, const ModelConfig& config) {
    tensor(target.weight, name + ".weight", {size});
    if (config.norm == NormKind::layer && config.norm_bias) tensor(target.bias, name + ".bias", {size});
  }
  std::vector<WeightSlot> list;
};

void mlp_slots(Slots& slots, const ModelConfig& config, int64_t width, Mlp& mlp, const std::string& prefix) {
  if (config.gated_mlp) slots.linear(mlp.gate, prefix + "gate", {width, config.hidden}, config.mlp_bias);
  slots.linear(mlp.up, prefix + "up", {width, config.hidden}, config.mlp_bias);
  slots.linear(mlp.down, prefix + "down", {config.hidden, width}, config.mlp_bias);
}

void expert_slots(Slots& slots, const ModelConfig& config, const LayerConfig& shape, LayerWeights& layer,
                  const std::string& prefix) {
  const ExpertConfig& experts = shape.experts;
  slots.linear(layer.router, prefix + "router", {experts.count, config.hidden}, false);
  layer.experts.resize(static_cast<size_t>(experts.count));
  for (size_t e = 0; e < layer.experts.size(); ++e)
    mlp_slots(slots, config, shape.mlp_dim, layer.experts[e], cat(prefix, "experts.", e, '.'));
  if (experts.shared_dim == 0) return;
  mlp_slots(slots, config, experts.shared_dim, layer.shared_expert, prefix + "shared_expert.");
  slots.linear(layer.shared_gate, prefix + "shared_gate", {1, config.hidden}, false);
}

void layer_slots(Slots& slots, const ModelConfig& config, const LayerConfig& shape, LayerWeights& layer,
                 const std::string& prefix) {
  const int64_t hidden = config.hidden;
  const int64_t query = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  slots.norm(layer.attention_norm, prefix + "attention_norm", hidden, config);
  slots.linear(layer.query, prefix + "query", {query, hidden}, config.attention_bias);
  slots.linear(layer.key, prefix + "key", {kv, hidden}, config.attention_bias);
  slots.linear(layer.value, prefix + "value", {kv, hidden}, config.attention_bias);
  slots.linear(layer.output, prefix + "output", {hidden, query}, config.output_bias);
  if (config.qk_norm) {
    slots.norm(layer.query_norm, prefix + "query_norm", shape.head_dim, config);
    slots.norm(layer.key_norm, prefix + "key_norm", shape.head_dim, config);
  }
  if (config.residual != Residual::parallel_one_norm)
    slots.norm(layer.mlp_norm, prefix + "mlp_norm", hidden, config);
  if (config.post_norms) {
    slots.norm(layer.post_attention_norm, prefix + "post_attention_norm", hidden, config);
    slots.norm(layer.post_mlp_norm, prefix + "post_mlp_norm", hidden, config);
  }
  if (shape.experts.count > 0)
    expert_slots(slots, config, shape, layer, prefix);
  else
    mlp_slots(slots, config, shape.mlp_dim, layer.mlp, prefix);
}

}  // namespace

std::vector<WeightSlot> weight_slots(const ModelConfig& config, ModelWeights& weights) {
  weights.layers.resize(config.layers.size());
  Slots slots;
  const int64_t width = config.embedding_dim > 0 ? config.embedding_dim : config.hidden;
  slots.tensor(weights.embedding, "embedding", {config.vocabulary, width});
  if (config.embedding_dim > 0) {
    slots.linear(weights.project_in, "project_in", {config.hidden, width}, false);
    slots.linear(weights.project_out, "project_out", {width, config.hidden}, false);
  }
  if (config.position == PositionKind::learned)
    slots.tensor(weights.positions, "positions", {config.context, config.hidden});
  if (config.embedding_norm) slots.norm(weights.embedding_norm, "embedding_norm", config.hidden, config);
  for (size_t i = 0; i < config.layers.size(); ++i)
    layer_slots(slots, config, config.layers[i], weights.layers[i], cat("layers.", i, '.'));
  if (config.has_final_norm()) slots.norm(weights.final_norm, "final_norm", config.hidden, config);
  if (!config.tied_head) slots.tensor(weights.head.weight, "head.weight", {config.vocabulary, width});
  if (config.head_bias) slots.tensor(weights.head.bias, "head.bias", {config.vocabulary});
  return slots.list;
}

int64_t ModelConfig::parameters() const {
  ModelWeights none;
  int64_t sum = 0;
  for (const WeightSlot& slot : weight_slots(*this, none))
    sum += std::accumulate(slot.shape.begin(), slot.shape.end(), int64_t{1}, std::multiplies<>());
  return sum;
}

int64_t ModelConfig::cache_bytes_per_token(int64_t element_bytes) const {
  int64_t sum = 0;
  for (const LayerConfig& layer : layers) sum += 2 * layer.kv_heads * layer.head_dim * element_bytes;
  return sum;
}

}  // namespace kvviz
