// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = whole(j, "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_position_embeddings", context_limits, 4096);
  config.norm_eps = value_or(j, "rms_norm_eps", 1e-5);
  config.activation = activation_of(j, "hidden_act", "silu");
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  require_value(j, "attention_bias", false);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  LayerConfig layer{.heads = heads,
                    .kv_heads = whole_or(j, "num_key_value_heads", width_limits, heads),
                    .head_dim = whole_or(j, "head_dim", width_limits, config.hidden / heads),
                    .mlp_dim = whole(j, "intermediate_size", width_limits),
                    .window = whole_or(j, "sliding_window", window_limits, 0)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  json with_context = j;  // absent, the first context is 4096: the class of transformers has this default
  if (value_or(j, "original_max_position_embeddings", 0.0) == 0)
    with_context["original_max_position_embeddings"] = 4096;
  config.rope = read_rope(with_context, config, layer.head_dim, {.share = "partial_rotary_factor"});
  require(config.rope.scaling == RopeScaling::none || config.rope.scaling == RopeScaling::longrope,
          "config.json: Phi-3 with a RoPE scaling other than longrope is not supported");
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "model.embed_tokens",
      .final_norm = "model.norm",
      .layers = "model.layers.",
      .attention_norm = "input_layernorm",
      .mlp_norm = "post_attention_layernorm",
      .qkv = "self_attn.qkv_proj",
      .output = "self_attn.o_proj",
      .down = "mlp.down_proj",
      .gate_up = "mlp.gate_up_proj",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture phi3_family() {
  return {.classes = {{"Phi3ForCausalLM", "phi3"}},
          .prefix = "model.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
