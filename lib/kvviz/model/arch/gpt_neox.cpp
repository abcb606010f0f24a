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
  config.residual = value_or(j, "use_parallel_residual", true) ? Residual::parallel : Residual::sequential;
  config.activation = activation_of(j, "hidden_act", "gelu");
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = value_or(j, "attention_bias", true);
  config.mlp_bias = true;
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  const LayerConfig layer{.heads = heads,
                          .kv_heads = heads,
                          .head_dim = even_head_dim(config.hidden, heads),
                          .mlp_dim = whole(j, "intermediate_size", width_limits)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  config.rope = read_rope(j, config, layer.head_dim,
                          {.theta = "rotary_emb_base", .share = "rotary_pct", .default_share = 0.25});
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "gpt_neox.embed_in",
      .final_norm = "gpt_neox.final_layer_norm",
      .head = "embed_out",
      .layers = "gpt_neox.layers.",
      .attention_norm = "input_layernorm",
      .mlp_norm = "post_attention_layernorm",
      .qkv = "attention.query_key_value",
      .fused = Fused::by_head,
      .output = "attention.dense",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture gpt_neox_family() {
  return {.classes = {{"GPTNeoXForCausalLM", "gpt_neox"}},
          .prefix = "gpt_neox.",
          .ignored = {".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"},
          .head = "embed_out",
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
