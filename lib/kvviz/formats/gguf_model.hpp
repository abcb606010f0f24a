// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvviz/formats/gguf.hpp"

namespace kvviz {

/// The metadata of a GGUF model as the config.json that transformers would have: general.architecture llama
/// (Llama, Mistral, Mixtral, SmolLM), qwen2, qwen2moe, qwen3, qwen3moe, gemma, gemma2, phi2, phi3, gpt2,
/// gptneox, bloom, falcon, mpt. The vocabulary is as large as the embedding, the head tied where
/// output.weight is absent. Frequencies of rope_freqs.weight (Llama 3) and of the long and short factors (Phi
/// 3) become a "longrope" scaling, which divides by them. Throws DataError: another architecture (named, with
/// the supported ones), a key of the architecture that is not accounted for (the model would be run wrongly),
/// a missing or impossible number. What a conversion drops cannot be known: the sliding window of
/// Mistral-7B-v0.1 does not stand in its GGUF files.
nlohmann::json gguf_config(const GgufFile& file);

/// The tensors under the names of transformers, as transformers would hold them: the rows of queries and keys
/// that llama.cpp interleaves (architecture llama) or takes apart (fused projections of gptneox, bloom,
/// falcon) in their old order, the 1 that it adds to Gemma's norms in `added`, gpt2's matrices as transposed,
/// the experts of a stack one by one. Nothing is read. Names that the architecture does not have stay as they
/// are, so that the loader refuses them. Throws DataError for shapes that cannot be taken apart.
StoredTensors gguf_tensors(const GgufFile& file);

}  // namespace kvviz
