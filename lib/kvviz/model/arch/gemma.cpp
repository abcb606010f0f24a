// SPDX-License-Identifier: MIT
#include <cmath>

#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

// Gemma 2: soft-caps, norms around attention and MLP, a window in every other layer.
void read_gemma2(const json& j, ModelConfig& config) {
  config.post_norms = true;
  config.attention_softcap =
      j.contains("attn_logit_softcapping") ? value_or(j, "attn_logit_softcapping", 0.0) : 50;
  config.logit_softcap =
      j.contains("final_logit_softcapping") ? value_or(j, "final_logit_softcapping", 0.0) : 30;
  const double scalar = value_or(j, "query_pre_attn_scalar", 256.0);
  require(scalar > 0, "config.json: query_pre_attn_scalar is ", scalar, "; expected more than 0");
  const auto window = whole_or(j, "sliding_window", window_limits, 4096);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].attention_scale = 1 / std::sqrt(scalar);
    config.layers[i].window = has_window(j, static_cast<int64_t>(i), i % 2 == 0) ? window : 0;
  }
}

// Early configs say "gelu" and mean the tanh form, as transformers 5 corrects it. A hidden_activation that
// says something else is what the first versions of transformers took.
Activation first_activation(const json& j) {
  const bool legacy = value_or(j, "hidden_act", std::string("gelu")) == "gelu";
  const Activation activation = legacy ? Activation::gelu_tanh : activation_of(j, "hidden_act", "");
  require(
      value_at(j, "hidden_activation").is_null() || activation_of(j, "hidden_activation", "") == activation,
      "config.json: hidden_act ", shown(value_at(j, "hidden_act")), " and hidden_activation ",
      shown(value_at(j, "hidden_activation")),
      " differ, and versions of transformers in which of them they take; expected the same");
  return activation;
}

ModelConfig parse(const json& j) {
  const bool second = value_or(j, "model_type", std::string()) == "gemma2";
  ModelConfig config;
  config.hidden = whole(j, "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_position_embeddings", context_limits, 8192);
  config.norm_eps = value_or(j, "rms_norm_eps", 1e-6);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  config.activation =
      second ? activation_of(j, "hidden_activation", "gelu_pytorch_tanh") : first_activation(j);
  config.attention_bias = config.output_bias = value_or(j, "attention_bias", false);
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  const LayerConfig layer{.heads = heads,
                          .kv_heads = whole_or(j, "num_key_value_heads", width_limits, second ? 4 : heads),
                          .head_dim = whole_or(j, "head_dim", width_limits, 256),
                          .mlp_dim = whole(j, "intermediate_size", width_limits)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  config.rope = read_rope(j, config, layer.head_dim);
  if (second) read_gemma2(j, config);
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "model.embed_tokens",
      .final_norm = "model.norm",
      .layers = "model.layers.",
      .attention_norm = "input_layernorm",
      .mlp_norm = "post_attention_layernorm",
      .post_attention_norm = "post_attention_layernorm",
      .post_mlp_norm = "post_feedforward_layernorm",
      .query = "self_attn.q_proj",
      .key = "self_attn.k_proj",
      .value = "self_attn.v_proj",
      .output = "self_attn.o_proj",
      .gate = "mlp.gate_proj",
      .up = "mlp.up_proj",
      .down = "mlp.down_proj",
      .added_to_norms = 1,
  };
  if (!config.post_norms) return named_sources(config, names);
  TensorNames second = names;
  second.mlp_norm = "pre_feedforward_layernorm";
  return named_sources(config, second);
}

}  // namespace

Architecture gemma_family() {
  return {.classes = {{"GemmaForCausalLM", "gemma"}, {"Gemma2ForCausalLM", "gemma2"}},
          .prefix = "model.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
