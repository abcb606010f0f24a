// SPDX-License-Identifier: MIT
#include "kvviz/engine/model_card.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/model/weights.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz {
namespace {

using tables::integer;
using tables::real;

constexpr const char* varies = "differs by layer: table model_layers";

Cell common(const ModelConfig& config, const std::function<int64_t(const LayerConfig&)>& of) {
  const int64_t first = of(config.layers.front());
  const bool alike = std::ranges::all_of(config.layers, [&](const LayerConfig& l) { return of(l) == first; });
  return alike ? integer(first) : Cell(Null{varies});
}

std::string scaling_text(const RopeConfig& rope) {
  const std::string from = cat(" from a context of ", static_cast<int64_t>(rope.original_context));
  switch (rope.scaling) {
    case RopeScaling::none:
      return "";
    case RopeScaling::linear:
      return fmt::format(", linear scaling by {:g}", rope.factor);
    case RopeScaling::dynamic:
      return fmt::format(", dynamic scaling by {:g}{}", rope.factor, from);
    case RopeScaling::llama3:
      return fmt::format(", llama3 scaling by {:g}{}", rope.factor, from);
    case RopeScaling::yarn:
      return fmt::format(", yarn scaling by {:g}{}", rope.factor, from);
    case RopeScaling::longrope:
      return cat(", longrope scaling", from);
  }
  throw std::logic_error("unknown RoPE scaling");
}

std::string positions_text(const ModelConfig& config) {
  if (config.position == PositionKind::learned) return "learned";
  if (config.position == PositionKind::alibi) return "ALiBi";
  const int64_t head_dim = config.layers.front().head_dim;
  const std::string part = config.rope.rotary_dim == head_dim
                               ? std::string()
                               : cat(", on ", config.rope.rotary_dim, " of ", head_dim, " channels");
  return fmt::format("RoPE, theta {:g}{}{}", config.rope.theta, part, scaling_text(config.rope));
}

std::string window_text(const ModelConfig& config) {
  int64_t windowed = 0, window = 0;
  for (const LayerConfig& layer : config.layers)
    if (layer.window > 0) ++windowed, window = std::max(window, layer.window);
  if (windowed == 0) return "none";
  return cat(window, " tokens in ", windowed, " of ", config.layers.size(), " layers");
}

const char* activation_text(Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return "GELU";
    case Activation::gelu_tanh:
      return "GELU (tanh)";
    case Activation::silu:
      return "SiLU";
    case Activation::relu:
      return "ReLU";
  }
  throw std::logic_error("unknown activation");
}

std::string residual_text(const ModelConfig& config) {
  const std::string norm = cat(config.norm == NormKind::rms ? "RMS" : "layer", " norm");
  const char* how = config.residual == Residual::sequential ? "attention, then MLP"
                    : config.residual == Residual::parallel ? "attention beside MLP"
                                                            : "attention beside MLP, one norm for both";
  return cat(how, ", ", norm, config.post_norms ? " before and after" : " before",
             config.qk_norm ? ", norms of queries and keys" : "");
}

std::string experts_text(const ModelConfig& config) {
  const auto layers =
      std::ranges::count_if(config.layers, [](const LayerConfig& l) { return l.experts.count > 0; });
  if (layers == 0) return "none";
  const auto& experts =
      std::ranges::find_if(config.layers, [](const LayerConfig& l) { return l.experts.count > 0; })->experts;
  return cat(experts.used, " of ", experts.count, " for a token, in ", layers, " of ", config.layers.size(),
             " layers", experts.shared_dim > 0 ? cat(", and a shared one of ", experts.shared_dim) : "");
}

bool same_shape(const LayerConfig& a, const LayerConfig& b) {
  const auto key = [](const LayerConfig& l) {
    return std::tuple(l.heads, l.kv_heads, l.head_dim, l.mlp_dim, l.window, l.experts.count);
  };
  return key(a) == key(b);
}

std::string sized(const std::string& label, int64_t bytes) {
  return cat(label, " (", size_text(static_cast<double>(bytes)), ")");
}

}  // namespace

std::vector<Fact> architecture_facts(const ModelConfig& config) {
  std::vector<Fact> facts = {
      {"architecture", config.architecture, "", "Architecture"},
      {"parameters", integer(config.parameters()), "", "Parameters"},
      {"layers", integer(std::ssize(config.layers)), "", "Layers"},
      {"hidden", integer(config.hidden), "", "Hidden size"},
      {"heads", common(config, &LayerConfig::heads), "", "Query heads of a layer"},
      {"kv_heads", common(config, &LayerConfig::kv_heads), "", "KV heads of a layer"},
      {"head_dim", common(config, &LayerConfig::head_dim), "", "head_dim"},
      {"mlp_dim", common(config, &LayerConfig::mlp_dim), "", "MLP size"},
      {"mlp", cat(activation_text(config.activation), config.gated_mlp ? ", gated" : ""), "",
       "  its activation"},
      {"experts", experts_text(config), "", "  its experts"},
      {"block", residual_text(config), "", "Block"},
      {"vocabulary", integer(config.vocabulary), "",
       cat("Vocabulary", config.tied_head ? " (head tied to it)" : "")},
      {"context", integer(config.context), "tokens", "Context it was made for"},
      {"positions", positions_text(config), "", "Positions"},
      {"window", window_text(config), "", "Sliding window"}};
  const auto softcap = [&](const char* key, double cap, const char* label) {
    if (cap > 0) facts.push_back({key, real(cap), "", label});
  };
  softcap("attention_softcap", config.attention_softcap, "Soft-cap of attention logits");
  softcap("logit_softcap", config.logit_softcap, "Soft-cap of the vocabulary's logits");
  if (!config.quantisation.empty())
    facts.push_back(
        {"quantisation", config.quantisation, "", "Stored quantised, which kvviz does not run, by"});
  return facts;
}

std::vector<Fact> size_facts(const ModelConfig& config, const analysis::CacheType& type, int64_t tokens) {
  const analysis::CacheShape shape = cache_shape(config);
  const int64_t cache = cache_bytes(shape, type, tokens);
  const int64_t weights = analysis::weight_bytes(config.parameters(), type, shape.group);
  const int64_t needed = model_memory(config, tokens, tokens, 4).total();
  const FreeMemory free = free_memory();
  return {
      {"dtype", std::string(type.name), "", "Sizes below in"},
      {"bytes_per_token", integer(token_bytes(shape, type).total()), "bytes", "Keys and values of a token"},
      {"cache_bytes", integer(cache), "bytes", sized(cat("Cache of ", tokens, " tokens"), cache)},
      {"weights_bytes", integer(weights), "bytes", sized("Weights", weights)},
      {"run_bytes", integer(needed), "bytes",
       sized(cat("kvviz needs for ", tokens, " tokens in f32, about"), needed)},
      {"free_bytes", integer(free.bytes), "bytes", sized(cat("  free: ", free.limit), free.bytes)}};
}

analysis::CacheShape cache_shape(const ModelConfig& config) {
  analysis::CacheShape shape;
  for (const LayerConfig& layer : config.layers)
    shape.layers.push_back({layer.kv_heads, layer.head_dim, layer.window});
  return shape;
}

std::vector<LayerGroup> layer_groups(const ModelConfig& config) {
  std::vector<LayerGroup> groups;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (groups.empty() || !same_shape(groups.back().layer, config.layers[i]))
      groups.push_back({static_cast<int64_t>(i), 0, config.layers[i]});
    ++groups.back().count;
  }
  return groups;
}

Table layer_shapes_table(const ModelConfig& config) {
  Table table{.name = "model_layers",
              .columns = {{"layers", "", ColumnType::text},
                          {"heads", "", ColumnType::integer},
                          {"kv_heads", "", ColumnType::integer},
                          {"head_dim", "", ColumnType::integer},
                          {"window", "tokens", ColumnType::integer},
                          {"mlp_dim", "", ColumnType::integer},
                          {"experts", "", ColumnType::integer}},
              .key = {"layers"}};
  for (const auto& [first, count, layer] : layer_groups(config))
    table.rows.push_back({count == 1 ? cat(first) : cat(first, "-", first + count - 1), layer.heads,
                          layer.kv_heads, layer.head_dim, layer.window, layer.mlp_dim, layer.experts.count});
  return table;
}

Table projections_table(const ModelConfig& config) {
  Table table{.name = "projections",
              .columns = {{"projection", "", ColumnType::text},
                          {"shape", "", ColumnType::text},
                          {"parameters", "", ColumnType::integer},
                          {"share", "", ColumnType::real}},
              .key = {"projection"}};
  ModelWeights none;
  const std::string first_layer = "layers.0.";
  const auto all = static_cast<double>(config.parameters());
  for (const WeightSlot& slot : weight_slots(config, none)) {
    const bool inner = slot.name.starts_with("layers.");
    const bool later_expert =
        slot.name.find("experts.") != std::string::npos && !slot.name.starts_with("layers.0.experts.0.");
    if (slot.shape.size() < 2 || (inner && !slot.name.starts_with(first_layer)) || later_expert) continue;
    const int64_t parameters =
        std::accumulate(slot.shape.begin(), slot.shape.end(), int64_t{1}, std::multiplies<>());
    const std::string name = inner ? slot.name.substr(first_layer.size()) : slot.name;
    const size_t end = name.ends_with(".weight") ? name.size() - 7 : name.size();
    table.rows.push_back({cat(inner ? "layer 0: " : "", name.substr(0, end)),
                          cat(slot.shape[0], " x ", slot.shape[1]), parameters,
                          static_cast<double>(parameters) / all});
  }
  return table;
}

}  // namespace kvviz
