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
  void norm(Norm& target, const std::string& name, const ModelConfig& config) {
    tensor(target.weight, name + ".weight", {config.hidden});
    if (config.norm == NormKind::layer) tensor(target.bias, name + ".bias", {config.hidden});
  }
  std::vector<WeightSlot> list;
};

void layer_slots(Slots& slots, const ModelConfig& config, const LayerConfig& shape, LayerWeights& layer,
                 const std::string& prefix) {
  const int64_t hidden = config.hidden;
  const int64_t query = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  slots.norm(layer.attention_norm, prefix + "attention_norm", config);
  slots.linear(layer.query, prefix + "query", {query, hidden}, config.attention_bias);
  slots.linear(layer.key, prefix + "key", {kv, hidden}, config.attention_bias);
  slots.linear(layer.value, prefix + "value", {kv, hidden}, config.attention_bias);
  slots.linear(layer.output, prefix + "output", {hidden, query}, config.output_bias);
  slots.norm(layer.mlp_norm, prefix + "mlp_norm", config);
  if (config.gated_mlp) slots.linear(layer.gate, prefix + "gate", {shape.mlp_dim, hidden}, config.mlp_bias);
  slots.linear(layer.up, prefix + "up", {shape.mlp_dim, hidden}, config.mlp_bias);
  slots.linear(layer.down, prefix + "down", {hidden, shape.mlp_dim}, config.mlp_bias);
}

}  // namespace

std::vector<WeightSlot> weight_slots(const ModelConfig& config, ModelWeights& weights) {
  weights.layers.resize(config.layers.size());
  Slots slots;
  slots.tensor(weights.embedding, "embedding", {config.vocabulary, config.hidden});
  if (config.position == PositionKind::learned)
    slots.tensor(weights.positions, "positions", {config.context, config.hidden});
  for (size_t i = 0; i < config.layers.size(); ++i)
    layer_slots(slots, config, config.layers[i], weights.layers[i], cat("layers.", i, '.'));
  slots.norm(weights.final_norm, "final_norm", config);
  if (!config.tied_head) slots.tensor(weights.head, "head", {config.vocabulary, config.hidden});
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
