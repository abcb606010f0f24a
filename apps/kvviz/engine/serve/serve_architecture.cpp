// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/engine/model_card.hpp"
#include "kvviz/engine/serve/model_requests.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;
using serve::Fields;
using serve::Reply;
using serve::Request;

constexpr int64_t usual_length = 2048;

ordered_json json_of(const Cell& cell) {
  struct Visit {
    ordered_json operator()(const Null&) const { return nullptr; }
    ordered_json operator()(int64_t number) const { return number; }
    ordered_json operator()(double number) const { return number; }
    ordered_json operator()(const std::string& text) const { return text; }
  };
  return std::visit(Visit{}, cell);
}

/// With the numbers of `kvviz models info` and its defaults.
ordered_json facts_of(const ModelConfig& config) {
  std::vector<Fact> facts = architecture_facts(config);
  std::ranges::move(size_facts(config, analysis::parse_cache_type(ModelsInfoOptions().dtype), usual_length),
                    std::back_inserter(facts));
  auto list = ordered_json::array();
  for (const Fact& fact : facts)
    list.push_back(
        {{"key", fact.key}, {"value", json_of(fact.value)}, {"unit", fact.unit}, {"label", fact.label}});
  return list;
}

ordered_json layers_of(const ModelConfig& config) {
  auto list = ordered_json::array();
  for (const auto& [first, count, layer] : layer_groups(config))
    list.push_back({{"first", first},
                    {"count", count},
                    {"query_heads", layer.heads},
                    {"kv_heads", layer.kv_heads},
                    {"head_dim", layer.head_dim},
                    {"window", layer.window}});
  return list;
}

const char* attention_of(const ModelConfig& config) {
  const auto all = [&](auto is) { return std::ranges::all_of(config.layers, is); };
  if (all([](const LayerConfig& layer) { return layer.kv_heads == layer.heads; })) return "MHA";
  return all([](const LayerConfig& layer) { return layer.kv_heads == 1; }) ? "MQA" : "GQA";
}

ordered_json projections_of(const ModelConfig& config) {
  auto list = ordered_json::array();
  for (const auto& row : projections_table(config).rows)
    list.push_back({{"name", json_of(row[0])},
                    {"shape", json_of(row[1])},
                    {"parameters", json_of(row[2])},
                    {"share", json_of(row[3])}});
  return list;
}

ordered_json cache_of(const NamedModel& model) {
  constexpr int64_t gpu = int64_t{80} << 30;
  const analysis::CacheShape shape = cache_shape(model.config);
  const analysis::CacheType& type = own_type(model.folder);
  const int64_t bytes = cache_bytes(shape, type, usual_length);
  const int64_t weights = analysis::weight_bytes(model.config.parameters(), type, shape.group);
  const int64_t context = model.config.context;
  const auto longest = weights > gpu ? 0 : longest_context(shape, type, gpu - weights);
  return {{"dtype", type.name},
          {"bytes_per_token", token_bytes(shape, type).total()},
          {"bytes_at_2048", bytes},
          {"weights_bytes", weights},
          {"cache_to_weights", static_cast<double>(bytes) / static_cast<double>(weights)},
          {"longest_80gib", std::min(longest.value_or(context), context)}};
}

ordered_json lengths_of(const ModelConfig& config) {
  const auto sizes = analysis::cache_sizes(
      cache_shape(config),
      {.tokens = usual_length, .lengths = doubling_lengths(config.context), .memories = {}});
  auto list = ordered_json::array();
  for (const analysis::ProjectedSize& size : sizes.projections) {
    if (list.empty() || list.back()["tokens"] != size.tokens)
      list.push_back({{"tokens", size.tokens}, {"bytes", ordered_json::object()}});
    list.back()["bytes"][size.type.name] = size.bytes;
  }
  return list;
}

Reply architecture(const ServeState& state, const Request& request) {
  Fields fields(request);
  const std::string id = fields.text("id", longest_id, "");
  fields.done();
  const NamedModel model = named_model(state, id);
  return {ordered_json{{"id", model.id},
                       {"facts", facts_of(model.config)},
                       {"layers", layers_of(model.config)},
                       {"attention", attention_of(model.config)},
                       {"projections", projections_of(model.config)},
                       {"cache", cache_of(model)},
                       {"lengths", lengths_of(model.config)}}};
}

}  // namespace

std::vector<serve::Route> architecture_routes(ServeState& state) {
  return {{"GET", "/api/architecture", [&](const Request& r) { return architecture(state, r); }}};
}

}  // namespace kvviz
