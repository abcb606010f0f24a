// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/model/arch.hpp"

namespace kvviz {

Architecture gpt2_family();   ///< GPT-2: learned positions, layer norm, fused QKV
Architecture llama_family();  ///< Llama, Mistral, Qwen2: RoPE, RMS norm, grouped queries, gated MLP

}  // namespace kvviz
