// SPDX-License-Identifier: MIT
#include "fuzz_target.hpp"
#include "kvviz/model/load.hpp"

namespace {

constexpr const char* config = R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
  "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "vocab_size": 8, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
  "tie_word_embeddings": true, "torch_dtype": "float32"})";

}  // namespace

// Weights in a model's folder, down to the decoder.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TemporaryFolder folder;
  test::as_file(folder, config, "config.json");
  test::as_file(folder, test::as_text(data, size), "model.safetensors");
  return test::survives([&] { load_model(folder.path()); });
}
