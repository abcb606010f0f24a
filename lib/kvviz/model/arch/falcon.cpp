// SPDX-License-Identifier: MIT
#include "kvviz/attention/alibi.hpp"
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

// Three layouts under one name: Falcon-7B (one KV head, parallel, one norm), Falcon-40B (grouped KV heads,
// parallel, mostly two norms) and Falcon-RW (every head its own, sequential, ALiBi).
Residual residual_of(const json& j, bool grouped) {
  if (!value_or(j, "parallel_attn", true)) {
    require(!grouped, "config.json: new_decoder_architecture without parallel_attn is not supported");
    return Residual::sequential;
  }
  const auto norms = value_or<int64_t>(j, "num_ln_in_parallel_attn", grouped ? 2 : 1);
  require(norms == 1 || (norms == 2 && grouped), "config.json: num_ln_in_parallel_attn ", norms,
          " is not supported; supported: 1, and 2 with new_decoder_architecture");
  return norms == 2 ? Residual::parallel : Residual::parallel_one_norm;
}

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = whole(j, "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_position_embeddings", context_limits, 2048);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_epsilon", 1e-5);
  config.activation = activation_of(j, "activation", "gelu");
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = value_or(j, "bias", false);
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  const bool grouped = value_or(j, "new_decoder_architecture", false);
  config.residual = residual_of(j, grouped);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  const bool single = !grouped && value_or(j, "multi_query", true);
  const int64_t kv_heads = grouped ? whole_or(j, "num_kv_heads", width_limits, heads) : (single ? 1 : heads);
  const LayerConfig layer{.heads = heads,
                          .kv_heads = kv_heads,
                          .head_dim = even_head_dim(config.hidden, heads),
                          .mlp_dim = whole_or(j, "ffn_hidden_size", width_limits, 4 * config.hidden)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  if (!value_or(j, "alibi", false)) {
    config.rope = read_rope(j, config, layer.head_dim);
    return config;
  }
  config.position = PositionKind::alibi;
  config.alibi_slopes = alibi_slopes(heads);
  // Falcon adds the bias before it scales the logits.
  for (float& slope : config.alibi_slopes) slope *= static_cast<float>(config.layers.front().attention_scale);
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "transformer.word_embeddings",
      .final_norm = "transformer.ln_f",
      .layers = "transformer.h.",
      .attention_norm = "input_layernorm",
      .mlp_norm = "post_attention_layernorm",
      .qkv = "self_attention.query_key_value",
      .fused = Fused::by_kv_head,
      .output = "self_attention.dense",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h",
  };
  if (config.residual != Residual::parallel) return named_sources(config, names);
  TensorNames two_norms = names;
  two_norms.attention_norm = "ln_attn";
  two_norms.mlp_norm = "ln_mlp";
  return named_sources(config, two_norms);
}

}  // namespace

Architecture falcon_family() {
  return {.classes = {{"FalconForCausalLM", "falcon"}},
          .prefix = "transformer.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
