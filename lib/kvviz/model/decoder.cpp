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

// Without RoPE the rotated tensors are the plain ones, and stay so.
LayerQkv on_cpu(LayerQkv qkv) {
  if (qkv.query.is_cpu()) return qkv;
  const bool rotated = !qkv.query.is_same(qkv.query_pre_rope);
  qkv.query_pre_rope = qkv.query_pre_rope.cpu();
  qkv.key_pre_rope = qkv.key_pre_rope.cpu();
  qkv.query = rotated ? qkv.query.cpu() : qkv.query_pre_rope;
  qkv.key = rotated ? qkv.key.cpu() : qkv.key_pre_rope;
  qkv.value = qkv.value.cpu();
  return qkv;
}

}  // namespace

Decoder::Decoder(ModelConfig config, ModelWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {}

LayerQkv Decoder::project(int layer, const at::Tensor& x, const RopeTable& rope) const {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  LayerQkv qkv{.layer = layer,
               .spec = {.scale = shape.attention_scale,
                        .softcap = config_.attention_softcap,
                        .window = shape.window,
                        .alibi_slopes = config_.alibi_slopes,
                        .device = device()}};
  const auto projected = [&](const Linear& linear, int64_t heads) {
    const at::Tensor y = apply(linear, x);
    return heads_of(config_.qkv_clip > 0 ? y.clamp(-config_.qkv_clip, config_.qkv_clip) : y, heads,
                    shape.head_dim);
  };
  const at::Tensor query = projected(w.query, shape.heads), key = projected(w.key, shape.kv_heads);
  qkv.query = qkv.query_pre_rope = config_.qk_norm ? apply(w.query_norm, query, config_) : query;
  qkv.key = qkv.key_pre_rope = config_.qk_norm ? apply(w.key_norm, key, config_) : key;
  qkv.value = projected(w.value, shape.kv_heads);
  if (config_.position == PositionKind::rope) {
    qkv.query = rotate(qkv.query_pre_rope, rope, config_.rope);
    qkv.key = rotate(qkv.key_pre_rope, rope, config_.rope);
  }
  return qkv;
}

at::Tensor Decoder::embedded(const at::Tensor& ids, int64_t first_position) const {
  at::Tensor x = at::embedding(weights_.embedding, ids.to(device())).to(at::kFloat);
  if (config_.embedding_dim > 0) x = apply(weights_.project_in, x);
  if (config_.embedding_scale != 1) x = x.mul(config_.embedding_scale);
  if (config_.position == PositionKind::learned)
    x = x.add(weights_.positions.narrow(0, first_position, ids.size(1)));
  return config_.embedding_norm ? apply(weights_.embedding_norm, x, config_) : x;
}

at::Tensor Decoder::hidden(const at::Tensor& ids, const Positions& positions, const AttentionFn& attend,
                           const Probe& probe) const {
  check_ids(ids, positions.first, config_);
  at::Tensor x = embedded(ids, positions.first);
  RopeTable rope;
  if (config_.position == PositionKind::rope) {
    rope = rope_table(config_.rope, positions.first, ids.size(1), positions.length);
    rope = {rope.cos.to(device()), rope.sin.to(device())};
  }
  const bool one_norm = config_.residual == Residual::parallel_one_norm;
  const bool parallel = one_norm || config_.residual == Residual::parallel;
  const bool norm_after = config_.residual == Residual::norm_after;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& w = weights_.layers[i];
    const int layer = static_cast<int>(i);
    at::Tensor normed = norm_after ? x : apply(w.attention_norm, x, config_);
    LayerQkv qkv = on_cpu(project(layer, normed, rope));
    if (!one_norm) normed.reset();
    at::Tensor attended = attend(qkv);
    at::Tensor added = apply(w.output, attended.to(device()).transpose(1, 2).flatten(2));
    if (!probe) {  // not kept beside the MLP's wide tensors
      qkv = LayerQkv{};
      attended.reset();
    }
    if (config_.post_norms) added = apply(w.post_attention_norm, added, config_);
    if (!parallel) x = x.add(added);
    if (norm_after) normed = x = apply(w.attention_norm, x, config_);
    if (!normed.defined()) normed = apply(w.mlp_norm, x, config_);
    at::Tensor fed = feed_forward(w, normed, config_, config_.layers[i].experts);
    if (config_.post_norms) fed = apply(w.post_mlp_norm, fed, config_);
    x = parallel ? x.add(added).add(fed) : x.add(fed);
    if (norm_after) x = apply(w.mlp_norm, x, config_);
    if (probe) {
      probe(Site::query_pre_rope, layer, qkv.query_pre_rope);
      probe(Site::key_pre_rope, layer, qkv.key_pre_rope);
      probe(Site::key, layer, qkv.key);
      probe(Site::value, layer, qkv.value);
      probe(Site::attention, layer, attended);
      probe(Site::layer_out, layer, x.cpu());
    }
  }
  return (config_.has_final_norm() ? apply(weights_.final_norm, x, config_) : x).cpu();
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  at::Tensor x = hidden.to(device());
  if (config_.embedding_dim > 0) x = apply(weights_.project_out, x);
  return softcapped(apply(weights_.head, x), config_.logit_softcap).cpu();
}

}  // namespace kvviz
