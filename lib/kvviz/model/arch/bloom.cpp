// SPDX-License-Identifier: MIT
#include "kvviz/attention/alibi.hpp"
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/reading.hpp"
#include "kvviz/model/arch/sources.hpp"

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
  Sources map(config);
  map.tensor("embedding", "transformer.word_embeddings.weight");
  map.norm("embedding_norm", "transformer.word_embeddings_layernorm");
  map.norm("final_norm", "transformer.ln_f");
  map.head("lm_head");
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const std::string ours = cat("layers.", i, '.'), theirs = cat("transformer.h.", i, '.');
    map.norm(ours + "attention_norm", theirs + "input_layernorm");
    map.norm(ours + "mlp_norm", theirs + "post_attention_layernorm");
    map.fused_qkv(ours, theirs + "self_attention.query_key_value", config.layers[i], config.layers[i].heads);
    map.linear(ours + "output", theirs + "self_attention.dense", true);
    map.linear(ours + "up", theirs + "mlp.dense_h_to_4h", true);
    map.linear(ours + "down", theirs + "mlp.dense_4h_to_h", true);
  }
  return map.take();
}

}  // namespace

Architecture bloom_family() {
  return {.names = {"BloomForCausalLM", "BloomModel"},
          .types = {"bloom"},
          .prefix = "transformer.",
          .ignored = {},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
