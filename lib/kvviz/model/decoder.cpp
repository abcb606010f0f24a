// SPDX-License-Identifier: MIT
#include "kvviz/model/decoder.hpp"

#include <ATen/ops/embedding.h>

#include "kvviz/core/error.hpp"
#include "kvviz/model/blocks.hpp"

namespace kvviz {
namespace {

void check_ids(const at::Tensor& ids, int64_t first_position, const ModelConfig& config) {
  require(ids.numel() > 0, "there is no token to run the model on");
  const auto lowest = ids.min().item<int64_t>(), highest = ids.max().item<int64_t>();
  require(lowest >= 0 && highest < config.vocabulary, "token id ", lowest < 0 ? lowest : highest,
          " is outside the model's vocabulary of ", config.vocabulary,
          "; the tokenizer does not belong to this model");
  const int64_t last = first_position + ids.size(1);
  require(config.position != PositionKind::learned || last <= config.context, "the text needs ", last,
          " positions; the model has learned ", config.context);
}

at::Tensor heads_of(const at::Tensor& x, int64_t heads, int64_t head_dim) {
  return x.view({x.size(0), x.size(1), heads, head_dim}).transpose(1, 2);
}

}  // namespace

Decoder::Decoder(ModelConfig config, ModelWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {}

LayerQkv Decoder::project(int layer, const at::Tensor& x, int64_t first_position) const {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  LayerQkv qkv{.layer = layer, .spec = {.scale = shape.attention_scale, .window = shape.window}};
  qkv.query = qkv.query_pre_rope = heads_of(apply(w.query, x), shape.heads, shape.head_dim);
  qkv.key = qkv.key_pre_rope = heads_of(apply(w.key, x), shape.kv_heads, shape.head_dim);
  qkv.value = heads_of(apply(w.value, x), shape.kv_heads, shape.head_dim);
  if (config_.position == PositionKind::rope) {
    const RopeTable table = rope_table(config_.rope, first_position, x.size(1));
    qkv.query = rotate(qkv.query_pre_rope, table, config_.rope);
    qkv.key = rotate(qkv.key_pre_rope, table, config_.rope);
  }
  return qkv;
}

at::Tensor Decoder::hidden(const at::Tensor& ids, int64_t first_position, const AttentionFn& attend,
                           const Probe& probe) const {
  check_ids(ids, first_position, config_);
  at::Tensor x = at::embedding(weights_.embedding, ids);
  if (config_.position == PositionKind::learned)
    x = x.add(weights_.positions.narrow(0, first_position, ids.size(1)));
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& w = weights_.layers[i];
    const int layer = static_cast<int>(i);
    LayerQkv qkv = project(layer, apply(w.attention_norm, x, config_), first_position);
    at::Tensor attended = attend(qkv);
    x = x.add(apply(w.output, attended.transpose(1, 2).flatten(2)));
    if (!probe) {  // not kept beside the MLP's wide tensors
      qkv = LayerQkv{};
      attended.reset();
    }
    x = x.add(mlp(w, apply(w.mlp_norm, x, config_), config_));
    if (probe) {
      probe(Site::query_pre_rope, layer, qkv.query_pre_rope);
      probe(Site::key_pre_rope, layer, qkv.key_pre_rope);
      probe(Site::key, layer, qkv.key);
      probe(Site::value, layer, qkv.value);
      probe(Site::attention, layer, attended);
      probe(Site::layer_out, layer, x);
    }
  }
  return apply(weights_.final_norm, x, config_);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  return apply(Linear{config_.tied_head ? weights_.embedding : weights_.head, {}}, hidden);
}

}  // namespace kvviz
