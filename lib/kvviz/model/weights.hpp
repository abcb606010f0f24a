// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "kvviz/model/config.hpp"

namespace kvviz {

/// y = x weight^T + bias; weight [out, in] in f32, bf16 or f16, bias [out] in f32 or undefined.
struct Linear {
  at::Tensor weight, bias;
};

/// Layer norm (bias may be undefined) or RMS norm.
struct Norm {
  at::Tensor weight, bias;
};

/// gate only in a gated MLP.
struct Mlp {
  Linear gate, up, down;
};

struct LayerWeights {
  Norm attention_norm, mlp_norm;  ///< no mlp_norm where attention and MLP share one
  Norm post_attention_norm, post_mlp_norm;
  Norm query_norm, key_norm;  ///< over head_dim
  Linear query, key, value, output;
  Mlp mlp;  ///< or, in a mixture of experts:
  Linear router;
  std::vector<Mlp> experts;
  Mlp shared_expert;
  Linear shared_gate;
};

struct ModelWeights {
  at::Tensor embedding;  ///< [vocabulary, embedding_dim] in f32, bf16 or f16
  at::Tensor positions;  ///< [context, hidden], learned positions only
  Norm embedding_norm;
  Linear project_in, project_out;  ///< between embedding_dim and hidden, where these differ
  std::vector<LayerWeights> layers;
  Norm final_norm;
  Linear head;  ///< weight [vocabulary, embedding_dim]; the embedding itself when tied
};

/// One tensor of ModelWeights: its place, its shape and how the checkpoint stores it.
struct WeightSlot {
  at::Tensor* target = nullptr;
  std::string name;            ///< in our words, e.g. "layers.3.query.weight"
  std::vector<int64_t> shape;  ///< as the decoder wants it
};

/// Every tensor that a model of this configuration has, in a fixed order. The pointers are into `weights`,
/// whose layers are sized by the call. A tied head's weight has no slot.
std::vector<WeightSlot> weight_slots(const ModelConfig& config, ModelWeights& weights);

}  // namespace kvviz
