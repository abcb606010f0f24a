// SPDX-License-Identifier: MIT
#include "kvviz/model/arch.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/foreign_keys.hpp"
#include "kvviz/model/arch/values.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

constexpr double fastest_turn = 1e9;  // radians a token; beyond, an angle says nothing

// As the f32 that it is used as.
bool is_finite(double number) {
  return std::isfinite(static_cast<float>(number));
}

const std::vector<Architecture>& families() {
  static const std::vector<Architecture> all = {
      gpt2_family(), llama_family(), gemma_family(),  phi_family(),   phi3_family(), gpt_neox_family(),
      gptj_family(), opt_family(),   falcon_family(), bloom_family(), mpt_family()};
  return all;
}

std::string supported() {
  std::string names;
  for (const Architecture& family : families())
    for (const ModelClass& model : family.classes) names += (names.empty() ? "" : ", ") + model.name;
  return names;
}

struct Named {
  const Architecture& family;
  const ModelClass& model;
};

Named named_in(const json& config) {
  const auto names = arch::value_or(config, "architectures", std::vector<std::string>{});
  const auto type = arch::value_or(config, "model_type", std::string());
  require(!names.empty() || !type.empty(), "config.json names neither architectures nor a model_type");
  for (const Architecture& family : families()) {
    for (const ModelClass& model : family.classes) {
      if (names.empty() ? model.type != type : model.name != names.front()) continue;
      require(type.empty() || type == model.type, "config.json: the architecture ", model.name,
              " and the model_type ", arch::shown(type), " contradict each other; expected ", model.type);
      return {family, model};
    }
  }
  throw DataError(cat("config.json: the architecture ",
                      names.empty() ? "of type " + arch::shown(type) : names.front().substr(0, 60),
                      " is not supported; supported: ", supported()));
}

void check_layer(const LayerConfig& layer) {
  require(layer.heads > 0 && layer.kv_heads > 0 && layer.heads % layer.kv_heads == 0,
          "config.json: ", layer.heads, " query heads cannot be shared out over ", layer.kv_heads,
          " KV heads");
  require(layer.head_dim > 0 && layer.heads * layer.head_dim <= arch::width_limits.most, "config.json: got ",
          layer.heads, " heads of head_dim ", layer.head_dim, "; expected ", arch::width_limits.most,
          " channels at most");
  require(layer.mlp_dim > 0 && layer.window >= 0 && layer.experts.shared_dim >= 0,
          "config.json: got MLP size ", layer.mlp_dim, ", window ", layer.window, ", shared expert ",
          layer.experts.shared_dim);
  require(is_finite(layer.attention_scale), "config.json: got an attention scale of ", layer.attention_scale);
}

// Frequencies are finite, at the ends of the context too, where some scalings change them.
void check_rope(const RopeConfig& rope, int64_t context) {
  require(rope.rotary_dim % 2 == 0, "config.json: RoPE over ", rope.rotary_dim,
          " channels; expected an even number");
  require(rope.attention_factor > 0 && is_finite(rope.attention_factor),
          "config.json: RoPE scaling gives an attention factor of ", rope.attention_factor,
          "; expected a finite number above 0");
  for (const int64_t length : {int64_t{1}, context})
    for (const double frequency : rope_frequencies(rope, length))
      require(frequency >= 0 && frequency <= fastest_turn, "config.json: RoPE with rope_theta ", rope.theta,
              " and its scaling turns a channel by ", frequency, " radians a token; expected 0 to ",
              fastest_turn);
}

void check_numbers(const ModelConfig& config) {
  const std::pair<const char*, double> positive[] = {
      {"the epsilon of the norms", config.norm_eps},
      {"the clip of queries, keys and values", config.qkv_clip},
      {"the soft-cap of attention", config.attention_softcap},
      {"the soft-cap of the logits", config.logit_softcap}};
  for (const auto& [name, number] : positive)
    require(number >= 0 && is_finite(number), "config.json: ", name, " is ", number,
            "; expected a finite number, 0 or more");
  for (const float slope : config.alibi_slopes)
    require(is_finite(slope), "config.json: an ALiBi slope is ", slope, "; expected a finite number");
}

// max_position_embeddings stays what it was under linear and dynamic scaling, as transformers' documentation
// asks; yarn and longrope say what they stretch, and then it may be the stretched context or not. The factor
// of llama3 does not bound the text.
int64_t stretched(const RopeConfig& rope, int64_t context) {
  if (rope.scaling == RopeScaling::none || rope.scaling == RopeScaling::llama3) return context;
  return std::max(context, static_cast<int64_t>(rope.factor * rope.original_context));
}

void check(const ModelConfig& config) {
  require(config.context > 0 && config.context <= arch::context_limits.most, "config.json: got a context of ",
          config.context, " positions; expected 1 to ", arch::context_limits.most);
  int64_t experts = 0;
  for (const LayerConfig& layer : config.layers) {
    check_layer(layer);
    experts += layer.experts.count;
  }
  require(experts <= arch::most_experts, "config.json: got ", experts, " experts in ", config.layers.size(),
          " layers; expected ", arch::most_experts, " at most");
  check_numbers(config);
  if (config.position == PositionKind::rope) check_rope(config.rope, config.context);
}

}  // namespace

const Architecture& architecture_of(const ModelConfig& config) {
  for (const Architecture& family : families())
    for (const ModelClass& model : family.classes)
      if (model.name == config.architecture) return family;
  throw std::logic_error("a ModelConfig of no family: " + config.architecture);
}

ModelConfig parse_config(const json& config) {
  require(config.is_object(), "config.json is not a JSON object");
  arch::require_flat(config);
  try {
    const Named named = named_in(config);
    json typed = config;
    typed["model_type"] = named.model.type;
    arch::refuse_foreign_keys(typed);
    ModelConfig parsed = named.family.parse_config(typed);
    parsed.architecture = named.model.name;
    arch::check_layer_types(typed, parsed.layers);
    if (parsed.position == PositionKind::rope) parsed.context = stretched(parsed.rope, parsed.context);
    if (const json& quantised = arch::value_at(config, "quantization_config"); !quantised.is_null())
      parsed.quantisation = arch::value_or(quantised, "quant_method", std::string("of an unknown kind"));
    check(parsed);
    return parsed;
  } catch (const json::exception& error) {
    throw DataError(cat("config.json: ", error.what()));
  }
}

std::vector<WeightSource> weight_map(const ModelConfig& config) {
  return architecture_of(config).weight_map(config);
}

}  // namespace kvviz
