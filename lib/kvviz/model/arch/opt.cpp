// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

constexpr int64_t unused_positions = 2;  // the learned positions of texts begin after them

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = whole(j, "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_position_embeddings", context_limits, 2048);
  config.norm = NormKind::layer;
  config.position = PositionKind::learned;
  config.activation = activation_of(j, "activation_function", "relu");
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = value_or(j, "enable_bias", true);
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  // OPT-350m alone has its norms after attention and MLP, and narrower embeddings.
  if (!value_or(j, "do_layer_norm_before", true)) config.residual = Residual::norm_after;
  const int64_t width = whole_or(j, "word_embed_proj_dim", width_limits, config.hidden);
  if (width != config.hidden) config.embedding_dim = width;
  require_value(j, "layer_norm_elementwise_affine", true);
  require_value(j, "_remove_final_layer_norm", false);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  config.layers = repeated({.heads = heads,
                            .kv_heads = heads,
                            .head_dim = even_head_dim(config.hidden, heads),
                            .mlp_dim = whole(j, "ffn_dim", width_limits)},
                           j, "num_hidden_layers");
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "model.decoder.embed_tokens",
      .final_norm = "model.decoder.final_layer_norm",
      .layers = "model.decoder.layers.",
      .attention_norm = "self_attn_layer_norm",
      .mlp_norm = "final_layer_norm",
      .query = "self_attn.q_proj",
      .key = "self_attn.k_proj",
      .value = "self_attn.v_proj",
      .output = "self_attn.out_proj",
      .up = "fc1",
      .down = "fc2",
  };
  auto map = named_sources(config, names);
  map.push_back({.ours = "positions",
                 .theirs = "model.decoder.embed_positions.weight",
                 .first_row = unused_positions,
                 .stored_rows = config.context + unused_positions});
  if (config.embedding_dim > 0) {
    add_linear(map, "project_in", "model.decoder.project_in", false);
    add_linear(map, "project_out", "model.decoder.project_out", false);
  }
  return map;
}

}  // namespace

Architecture opt_family() {
  return {.classes = {{"OPTForCausalLM", "opt"}},
          .prefix = "model.",
          .ignored = {".decoder.version"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
