// SPDX-License-Identifier: MIT
#include "kvviz/model/arch.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/model/arch/families.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

const std::vector<Architecture>& families() {
  static const std::vector<Architecture> all = {
      gpt2_family(), llama_family(), gemma_family(),  phi_family(),   phi3_family(), gpt_neox_family(),
      gptj_family(), opt_family(),   falcon_family(), bloom_family(), mpt_family()};
  return all;
}

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string supported() {
  std::string names;
  for (const Architecture& family : families())
    for (const std::string& name : family.names) names += (names.empty() ? "" : ", ") + name;
  return names;
}

void check(const ModelConfig& config) {
  require(config.hidden > 0 && config.vocabulary > 0 && config.context > 0 && !config.layers.empty(),
          "config.json: got hidden size ", config.hidden, ", vocabulary ", config.vocabulary, ", context ",
          config.context, ", ", config.layers.size(), " layers; expected all to be 1 or more");
  for (const LayerConfig& layer : config.layers) {
    require(layer.heads > 0 && layer.kv_heads > 0 && layer.heads % layer.kv_heads == 0,
            "config.json: ", layer.heads, " query heads cannot be shared out over ", layer.kv_heads,
            " KV heads");
    require(layer.head_dim > 0 && layer.mlp_dim > 0 && layer.window >= 0, "config.json: got head_dim ",
            layer.head_dim, ", MLP size ", layer.mlp_dim, ", window ", layer.window);
  }
  require(config.position != PositionKind::rope || config.rope.rotary_dim % 2 == 0, "config.json: RoPE over ",
          config.rope.rotary_dim, " channels; expected an even number");
}

}  // namespace

const Architecture& architecture_of(const json& config) {
  const auto names = config.value("architectures", std::vector<std::string>{});
  const auto type = config.value("model_type", std::string());
  for (const Architecture& family : families()) {
    if (!names.empty() && contains(family.names, names.front())) return family;
    if (names.empty() && contains(family.types, type)) return family;
  }
  throw DataError(cat("config.json: the architecture ",
                      names.empty() ? "of type \"" + type + '"' : names.front(),
                      " is not supported; supported: ", supported()));
}

const Architecture& architecture_of(const ModelConfig& config) {
  for (const Architecture& family : families())
    if (contains(family.names, config.architecture)) return family;
  throw std::logic_error("a ModelConfig of no family: " + config.architecture);
}

ModelConfig parse_config(const json& config) {
  require(config.is_object(), "config.json is not a JSON object");
  try {
    const Architecture& family = architecture_of(config);
    ModelConfig parsed = family.parse_config(config);
    const auto names = config.value("architectures", std::vector<std::string>{});
    parsed.architecture = names.empty() ? family.names.front() : names.front();
    // Dynamic scaling stretches the context by its factor as texts grow.
    if (parsed.rope.scaling == RopeScaling::dynamic)
      parsed.context = static_cast<int64_t>(static_cast<double>(parsed.context) * parsed.rope.factor);
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
