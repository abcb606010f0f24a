// SPDX-License-Identifier: MIT
#include "kvviz/attention/alibi.hpp"
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = whole(j, j.contains("n_embed") ? "n_embed" : "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "seq_length", context_limits, 2048);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_epsilon", 1e-5);
  config.embedding_norm = true;
  config.position = PositionKind::alibi;
  config.activation = Activation::gelu_tanh;
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = true;
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  require_value(j, "apply_residual_connection_post_layernorm", false);
  // transformers then leaves out the biases of two projections.
  if (value_or<int64_t>(j, "pretraining_tp", 1) > 1) require_value(j, "slow_but_exact", false);
  const int64_t heads = whole(j, j.contains("n_head") ? "n_head" : "num_attention_heads", width_limits);
  config.layers = repeated({.heads = heads,
                            .kv_heads = heads,
                            .head_dim = even_head_dim(config.hidden, heads),
                            .mlp_dim = 4 * config.hidden},
                           j, j.contains("n_layer") ? "n_layer" : "num_hidden_layers");
  config.alibi_slopes = alibi_slopes(heads);
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
      .fused = Fused::by_head,
      .output = "self_attention.dense",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h",
      .embedding_norm = "transformer.word_embeddings_layernorm",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture bloom_family() {
  return {.classes = {{"BloomForCausalLM", "bloom"}, {"BloomModel", "bloom"}},
          .prefix = "transformer.",
          .ignored = {},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
