// SPDX-License-Identifier: MIT
#include "train_demo/export.hpp"

#include <map>
#include <nlohmann/json.hpp>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/safetensors.hpp"

namespace kvviz {
namespace {

nlohmann::ordered_json hugging_face_config(const ModelConfig& config) {
  const LayerConfig& layer = config.layers.front();
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", config.hidden},
          {"intermediate_size", layer.mlp_dim},
          {"num_hidden_layers", config.layers.size()},
          {"num_attention_heads", layer.heads},
          {"num_key_value_heads", layer.kv_heads},
          {"head_dim", layer.head_dim},
          {"vocab_size", config.vocabulary},
          {"max_position_embeddings", config.context},
          {"rms_norm_eps", config.norm_eps},
          {"rope_theta", config.rope.theta},
          {"hidden_act", "silu"},
          {"attention_bias", config.attention_bias},
          {"mlp_bias", false},
          {"tie_word_embeddings", true},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"torch_dtype", "float16"}};
}

}  // namespace

void export_model(const TrainOptions& options, const ModelConfig& config, ModelWeights& weights) {
  const auto folder = options.work / "model";
  std::map<std::string, at::Tensor> tensors;
  const auto slots = weight_slots(config, weights);
  for (const WeightSource& source : weight_map(config)) {
    for (const WeightSlot& slot : slots)
      if (slot.name == source.ours) tensors[source.theirs] = slot.target->detach().to(at::kHalf).contiguous();
  }
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  write_file(folder / "config.json", hugging_face_config(config).dump(2) + "\n");
  const nlohmann::ordered_json tokenizer = {{"tokenizer_class", "LlamaTokenizer"},
                                            {"bos_token", "<s>"},
                                            {"eos_token", "</s>"},
                                            {"unk_token", "<unk>"},
                                            {"add_bos_token", true},
                                            {"add_eos_token", false},
                                            {"model_max_length", config.context},
                                            {"legacy", true}};
  write_file(folder / "tokenizer_config.json", tokenizer.dump(2) + "\n");
  write_file(folder / "tokenizer.model", read_file(options.work / "tokenizer.model"));
}

}  // namespace kvviz
