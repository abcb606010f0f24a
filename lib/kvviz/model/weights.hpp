// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "kvviz/model/config.hpp"

namespace kvviz {

/// y = x weight^T + bias; weight [out, in], bias [out] or undefined.
struct Linear {
  at::Tensor weight, bias;
};

/// Layer norm (bias defined) or RMS norm.
struct Norm {
  at::Tensor weight, bias;
};

struct LayerWeights {
  Norm attention_norm, mlp_norm;
  Linear query, key, value, output;
  Linear gate, up, down;  ///< gate only in a gated MLP
};

struct ModelWeights {
  at::Tensor embedding;  ///< [vocabulary, hidden]
  at::Tensor positions;  ///< [context, hidden], learned positions only
  std::vector<LayerWeights> layers;
  Norm final_norm;
  at::Tensor head;  ///< [vocabulary, hidden]; the embedding itself when tied
};

/// One tensor of ModelWeights: its place, its shape and how the checkpoint stores it.
struct WeightSlot {
  at::Tensor* target = nullptr;
  std::string name;            ///< in our words, e.g. "layers.3.query.weight"
  std::vector<int64_t> shape;  ///< as the decoder wants it
};

/// Every tensor that a model of this configuration has, in a fixed order. The pointers are into `weights`,
/// whose layers are sized by the call. A tied head has no slot.
std::vector<WeightSlot> weight_slots(const ModelConfig& config, ModelWeights& weights);

}  // namespace kvviz
