// SPDX-License-Identifier: MIT
#include "kvviz/attention/alibi.hpp"
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

// Options of MPT's own code that transformers' MPT leaves out are refused: it would run them wrongly.
void check_attention(const json& attention) {
  require(attention.is_object(), "config.json: attn_config is ", shown(attention), "; expected an object");
  require_value(attention, "attn_type", std::string("multihead_attention"));
  require_value(attention, "alibi", true);
  require_value(attention, "qk_ln", false);
  require_value(attention, "prefix_lm", false);
  require_value(attention, "qk_gn", false);
  require_value(attention, "rope", false);
  require_value(attention, "sliding_window_size", -1);
  require_value(attention, "attn_logit_softcapping", json());
}

void check_blocks(const json& j) {
  require_value(j, "no_bias", true);
  require_value(j, "expansion_ratio", 4);
  require_value(j, "logit_scale", json());
  const auto norm = value_or(j, "norm_type", std::string("layernorm"));
  require(norm == "layernorm" || norm == "low_precision_layernorm", "config.json: norm_type ", norm,
          " is not supported; supported: layernorm, low_precision_layernorm");
  const json mlp = value_or(j, "ffn_config", json::object());
  require(mlp.is_object(), "config.json: ffn_config is ", shown(mlp), "; expected an object");
  require_value(mlp, "ffn_type", "mptmlp");
  require_value(mlp, "ffn_act_fn", json({{"name", "gelu"}, {"approximate", "none"}}));
}

ModelConfig parse(const json& j) {
  const json attention = value_or(j, "attn_config", json::object());
  check_attention(attention);
  check_blocks(j);
  ModelConfig config;
  config.hidden = whole(j, "d_model", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_seq_len", context_limits, 2048);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_epsilon", 1e-5);
  config.norm_bias = false;
  config.qkv_clip = value_or(attention, "clip_qkv", 0.0);
  config.position = PositionKind::alibi;
  config.activation = Activation::gelu;
  config.gated_mlp = false;
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  const int64_t heads = whole(j, "n_heads", width_limits);
  config.layers = repeated({.heads = heads,
                            .kv_heads = heads,
                            .head_dim = even_head_dim(config.hidden, heads),
                            .mlp_dim = 4 * config.hidden},
                           j, "n_layers");
  for (LayerConfig& layer : config.layers)
    layer.attention_scale = value_or(attention, "softmax_scale", layer.attention_scale);
  config.alibi_slopes = alibi_slopes(heads, value_or(attention, "alibi_bias_max", 8.0));
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "transformer.wte",
      .final_norm = "transformer.norm_f",
      .layers = "transformer.blocks.",
      .attention_norm = "norm_1",
      .mlp_norm = "norm_2",
      .qkv = "attn.Wqkv",
      .output = "attn.out_proj",
      .up = "ffn.up_proj",
      .down = "ffn.down_proj",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture mpt_family() {
  return {.classes = {{"MptForCausalLM", "mpt"}, {"MPTForCausalLM", "mpt"}},
          .prefix = "transformer.",
          .ignored = {},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
