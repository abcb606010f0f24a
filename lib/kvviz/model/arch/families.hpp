// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/model/arch.hpp"

namespace kvviz {

Architecture gpt2_family();   ///< GPT-2: learned positions, layer norm, fused QKV
Architecture llama_family();  ///< Llama, Mistral, Qwen2, Qwen3 and the mixtures Mixtral, Qwen2-MoE, Qwen3-MoE
Architecture gemma_family();  ///< Gemma and Gemma 2: scaled embeddings, soft-caps, norms on both sides
Architecture phi_family();    ///< Phi: parallel blocks with one norm, partial RoPE, biases everywhere
Architecture phi3_family();   ///< Phi-3: Llama with fused QKV and fused gate, longrope
Architecture gpt_neox_family();  ///< GPT-NeoX and Pythia: parallel blocks, partial RoPE
Architecture gptj_family();      ///< GPT-J: parallel blocks with one norm, interleaved partial RoPE
Architecture opt_family();       ///< OPT: learned positions, ReLU
Architecture falcon_family();    ///< Falcon: one, few or all KV heads, RoPE or ALiBi
Architecture bloom_family();     ///< BLOOM: ALiBi, a norm of the embeddings
Architecture mpt_family();       ///< MPT: ALiBi, no biases at all

}  // namespace kvviz
