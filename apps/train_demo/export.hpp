// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/model/config.hpp"
#include "kvviz/model/weights.hpp"
#include "train_demo/trainer.hpp"

namespace kvviz {

/// Writes work/model: config.json, model.safetensors (f16) and the tokenizer, in Hugging Face's Llama layout.
void export_model(const TrainOptions& options, const ModelConfig& config, ModelWeights& weights);

}  // namespace kvviz
