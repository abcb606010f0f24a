// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/model/config.hpp"

namespace kvviz {

/// What a model needs in memory, in bytes.
struct ModelMemory {
  int64_t weights = 0;
  int64_t cache = 0;    ///< K and V of the text in f32
  int64_t working = 0;  ///< the widest moment of a forward pass, logits included
  int64_t total() const { return weights + cache + working; }
};

/// An estimate before anything is loaded, for a text of so many tokens and weights of `weight_bytes` bytes an
/// element. The working part counts a layer's hidden states, queries, keys, values and attention output for
/// `at_once` tokens (all of them where attention is measured), the MLP and the logits in their pieces, half
/// as much again for temporaries and what the allocator keeps (as measured), and the statistics of attention.
ModelMemory model_memory(const ModelConfig& config, int64_t tokens, int64_t at_once, int64_t weight_bytes);

}  // namespace kvviz
