// SPDX-License-Identifier: MIT
#include <cmath>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/model/arch/families.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// JSON null counts as absent: published configs write both.
template <class T>
T value_or(const json& j, const char* key, T fallback) {
  const auto found = j.find(key);
  return found == j.end() || found->is_null() ? fallback : found->get<T>();
}

void parse_scaling(const json& scaling, RopeConfig& rope, int64_t context) {
  const auto kind = value_or(scaling, "rope_type", value_or(scaling, "type", std::string("default")));
  if (kind == "default") return;
  require(kind == "linear" || kind == "llama3", "config.json: RoPE scaling ", kind,
          " is not supported; supported: default, linear, llama3");
  rope.scaling = kind == "linear" ? RopeScaling::linear : RopeScaling::llama3;
  rope.factor = scaling.at("factor");
  require(rope.factor > 0, "config.json: RoPE scaling factor ", rope.factor, "; expected more than 0");
  if (rope.scaling == RopeScaling::linear) return;
  rope.low_freq_factor = scaling.at("low_freq_factor");
  rope.high_freq_factor = scaling.at("high_freq_factor");
  rope.original_context = value_or(scaling, "original_max_position_embeddings", static_cast<double>(context));
  require(rope.high_freq_factor > rope.low_freq_factor,
          "config.json: llama3 RoPE scaling needs high_freq_factor (", rope.high_freq_factor,
          ") above low_freq_factor (", rope.low_freq_factor, ')');
}

// Mistral's window holds in every layer; Qwen2's only where use_sliding_window is set, from max_window_layers
// on. What an absent key means is what transformers' configuration classes say.
int64_t window_of(const json& j, bool qwen2, int64_t layer) {
  const auto window = j.contains("sliding_window") ? value_or<int64_t>(j, "sliding_window", 0) : 4096;
  if (!value_or(j, "use_sliding_window", !qwen2)) return 0;
  const auto types = value_or(j, "layer_types", std::vector<std::string>{});
  if (static_cast<size_t>(layer) < types.size())
    return types[static_cast<size_t>(layer)] == "sliding_attention" ? window : 0;
  return layer >= value_or<int64_t>(j, "max_window_layers", qwen2 ? 28 : 0) ? window : 0;
}

ModelConfig parse(const json& j) {
  const auto type = j.value("model_type", std::string("llama"));
  ModelConfig config;
  config.hidden = j.at("hidden_size");
  config.vocabulary = j.at("vocab_size");
  config.context = value_or<int64_t>(j, "max_position_embeddings", 2048);
  config.norm_eps = value_or(j, "rms_norm_eps", 1e-6);
  const auto act = value_or(j, "hidden_act", std::string("silu"));
  require(act == "silu", "config.json: hidden_act ", act,
          " is not supported in this family; supported: silu");
  config.attention_bias = type == "qwen2" || value_or(j, "attention_bias", false);
  config.output_bias = type != "qwen2" && config.attention_bias;
  config.mlp_bias = value_or(j, "mlp_bias", false);
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  const int64_t heads = j.at("num_attention_heads");
  require(heads > 0, "config.json: num_attention_heads is ", heads);
  LayerConfig layer{.heads = heads,
                    .kv_heads = value_or(j, "num_key_value_heads", type == "mistral" ? int64_t{8} : heads),
                    .head_dim = value_or(j, "head_dim", config.hidden / heads),
                    .mlp_dim = j.at("intermediate_size")};
  layer.attention_scale = 1 / std::sqrt(static_cast<double>(layer.head_dim));
  config.rope.theta = value_or(j, "rope_theta", 10000.0);
  require(value_or(j, "partial_rotary_factor", 1.0) == 1.0,
          "config.json: partial_rotary_factor is not supported in this family");
  config.rope.rotary_dim = layer.head_dim;
  // transformers 5 writes theta and scaling together as rope_parameters.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json scaling = value_or(j, key, json());
    if (!scaling.is_object()) continue;
    config.rope.theta = value_or(scaling, "rope_theta", config.rope.theta);
    parse_scaling(scaling, config.rope, config.context);
  }
  require(config.rope.theta > 0, "config.json: rope_theta is ", config.rope.theta, "; expected more than 0");
  const int64_t count = j.at("num_hidden_layers");
  for (int64_t i = 0; i < count; ++i) {
    layer.window = type == "llama" ? 0 : window_of(j, type == "qwen2", i);
    config.layers.push_back(layer);
  }
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  std::vector<WeightSource> map = {{"embedding", "model.embed_tokens.weight"},
                                   {"final_norm.weight", "model.norm.weight"}};
  if (!config.tied_head) map.push_back({"head", "lm_head.weight"});
  const auto linear = [&](const std::string& ours, const std::string& theirs, bool biased) {
    map.push_back({ours + ".weight", theirs + ".weight"});
    if (biased) map.push_back({ours + ".bias", theirs + ".bias"});
  };
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const std::string ours = cat("layers.", i, '.'), theirs = cat("model.layers.", i, '.');
    map.push_back({ours + "attention_norm.weight", theirs + "input_layernorm.weight"});
    map.push_back({ours + "mlp_norm.weight", theirs + "post_attention_layernorm.weight"});
    linear(ours + "query", theirs + "self_attn.q_proj", config.attention_bias);
    linear(ours + "key", theirs + "self_attn.k_proj", config.attention_bias);
    linear(ours + "value", theirs + "self_attn.v_proj", config.attention_bias);
    linear(ours + "output", theirs + "self_attn.o_proj", config.output_bias);
    linear(ours + "gate", theirs + "mlp.gate_proj", config.mlp_bias);
    linear(ours + "up", theirs + "mlp.up_proj", config.mlp_bias);
    linear(ours + "down", theirs + "mlp.down_proj", config.mlp_bias);
  }
  return map;
}

}  // namespace

Architecture llama_family() {
  return {.names = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"},
          .types = {"llama", "mistral", "qwen2"},
          .prefix = "model.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
