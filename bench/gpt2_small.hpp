// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/model/decoder.hpp"

namespace kvviz::bench {

/// The shape of GPT-2 small (12 layers, 12 heads of 64, vocabulary 50257) with `context` positions.
ModelConfig gpt2_small(int64_t context);

/// That model with random weights.
Decoder random_decoder(const ModelConfig& config);

/// Useful flops of a forward pass with the logits of every token: linear layers, head, causal attention.
double forward_flops(const ModelConfig& config, int64_t tokens);

}  // namespace kvviz::bench
