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
  config.context = whole_or(j, "max_position_embeddings", context_limits, 2048);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_eps", 1e-5);
  config.residual = Residual::parallel_one_norm;
  config.qk_norm = value_or(j, "qk_layernorm", false);
  config.activation = activation_of(j, "hidden_act", "gelu_new");
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = config.head_bias = true;
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  const LayerConfig layer{.heads = heads,
                          .kv_heads = whole_or(j, "num_key_value_heads", width_limits, heads),
                          .head_dim = even_head_dim(config.hidden, heads),
                          .mlp_dim = whole(j, "intermediate_size", width_limits)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  config.rope =
      read_rope(j, config, layer.head_dim, {.share = "partial_rotary_factor", .default_share = 0.5});
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "model.embed_tokens",
      .final_norm = "model.final_layernorm",
      .layers = "model.layers.",
      .attention_norm = "input_layernorm",
      .query = "self_attn.q_proj",
      .key = "self_attn.k_proj",
      .value = "self_attn.v_proj",
      .query_norm = "self_attn.q_layernorm",
      .key_norm = "self_attn.k_layernorm",
      .output = "self_attn.dense",
      .up = "mlp.fc1",
      .down = "mlp.fc2",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture phi_family() {
  return {.classes = {{"PhiForCausalLM", "phi"}},
          .prefix = "model.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
