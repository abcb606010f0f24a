// SPDX-License-Identifier: MIT
#include <cmath>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/model/arch/families.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

Activation activation_of(const std::string& name) {
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "relu") return Activation::relu;
  throw DataError(
      cat("config.json: activation_function ", name, " is not supported; supported: gelu_new, gelu, relu"));
}

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = j.at("n_embd");
  config.vocabulary = j.at("vocab_size");
  config.context = j.at("n_positions");
  config.norm = NormKind::layer;
  config.norm_eps = j.value("layer_norm_epsilon", 1e-5);
  config.position = PositionKind::learned;
  config.activation = activation_of(j.value("activation_function", "gelu_new"));
  config.gated_mlp = false;
  config.attention_bias = config.output_bias = config.mlp_bias = true;
  config.tied_head = j.value("tie_word_embeddings", true);
  require(!j.value("add_cross_attention", false), "config.json: add_cross_attention is not supported");
  const int64_t heads = j.at("n_head");
  require(heads > 0 && config.hidden % heads == 0, "config.json: n_embd ", config.hidden,
          " does not divide by n_head ", heads);
  const json inner = j.value("n_inner", json());
  LayerConfig layer{.heads = heads,
                    .kv_heads = heads,
                    .head_dim = config.hidden / heads,
                    .mlp_dim = inner.is_null() ? 4 * config.hidden : inner.get<int64_t>()};
  const bool scaled = j.value("scale_attn_weights", true);
  const bool by_layer = j.value("scale_attn_by_inverse_layer_idx", false);
  const int64_t count = j.at("n_layer");
  for (int64_t i = 0; i < count; ++i) {
    layer.attention_scale = scaled ? 1 / std::sqrt(static_cast<double>(layer.head_dim)) : 1;
    if (by_layer) layer.attention_scale /= static_cast<double>(i + 1);
    config.layers.push_back(layer);
  }
  return config;
}

void fused_qkv(std::vector<WeightSource>& map, const std::string& ours, const std::string& theirs,
               int64_t hidden) {
  int64_t row = 0;
  for (const char* part : {"query", "key", "value"}) {
    map.push_back({ours + part + ".weight", theirs + ".weight", true, row, 3 * hidden});
    map.push_back({ours + part + ".bias", theirs + ".bias", false, row, 3 * hidden});
    row += hidden;
  }
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  std::vector<WeightSource> map = {{"embedding", "transformer.wte.weight"},
                                   {"positions", "transformer.wpe.weight"},
                                   {"final_norm.weight", "transformer.ln_f.weight"},
                                   {"final_norm.bias", "transformer.ln_f.bias"}};
  if (!config.tied_head) map.push_back({"head", "lm_head.weight"});
  const auto linear = [&](const std::string& ours, const std::string& theirs) {
    map.push_back({ours + ".weight", theirs + ".weight", true});
    map.push_back({ours + ".bias", theirs + ".bias"});
  };
  const auto norm = [&](const std::string& ours, const std::string& theirs) {
    map.push_back({ours + ".weight", theirs + ".weight"});
    map.push_back({ours + ".bias", theirs + ".bias"});
  };
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const std::string ours = cat("layers.", i, '.'), theirs = cat("transformer.h.", i, '.');
    fused_qkv(map, ours, theirs + "attn.c_attn", config.hidden);
    linear(ours + "output", theirs + "attn.c_proj");
    linear(ours + "up", theirs + "mlp.c_fc");
    linear(ours + "down", theirs + "mlp.c_proj");
    norm(ours + "attention_norm", theirs + "ln_1");
    norm(ours + "mlp_norm", theirs + "ln_2");
  }
  return map;
}

}  // namespace

Architecture gpt2_family() {
  return {.names = {"GPT2LMHeadModel", "GPT2Model"},
          .types = {"gpt2"},
          .prefix = "transformer.",
          .ignored = {".attn.bias", ".attn.masked_bias"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
