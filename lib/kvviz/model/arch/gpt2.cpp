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
  config.hidden = whole(j, "n_embd", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole(j, "n_positions", context_limits);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_epsilon", 1e-5);
  config.position = PositionKind::learned;
  config.activation = activation_of(j, "activation_function", "gelu_new");
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = true;
  config.tied_head = value_or(j, "tie_word_embeddings", true);
  require_value(j, "add_cross_attention", false);
  const int64_t heads = whole(j, "n_head", width_limits);
  config.layers = repeated({.heads = heads,
                            .kv_heads = heads,
                            .head_dim = even_head_dim(config.hidden, heads),
                            .mlp_dim = whole_or(j, "n_inner", width_limits, 4 * config.hidden)},
                           j, "n_layer");
  const bool scaled = value_or(j, "scale_attn_weights", true);
  const bool by_layer = value_or(j, "scale_attn_by_inverse_layer_idx", false);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    double& scale = config.layers[i].attention_scale;
    if (!scaled) scale = 1;
    if (by_layer) scale /= static_cast<double>(i + 1);
  }
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "transformer.wte",
      .final_norm = "transformer.ln_f",
      .layers = "transformer.h.",
      .attention_norm = "ln_1",
      .mlp_norm = "ln_2",
      .qkv = "attn.c_attn",
      .output = "attn.c_proj",
      .up = "mlp.c_fc",
      .down = "mlp.c_proj",
      .transposed = true,
  };
  auto map = named_sources(config, names);
  map.push_back({"positions", "transformer.wpe.weight"});
  return map;
}

}  // namespace

Architecture gpt2_family() {
  return {.classes = {{"GPT2LMHeadModel", "gpt2"}, {"GPT2Model", "gpt2"}},
          .prefix = "transformer.",
          .ignored = {".attn.bias", ".attn.masked_bias"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
