// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/reading.hpp"

#include <cmath>
#include <map>

namespace kvviz::arch {
namespace {

using nlohmann::json;

constexpr double most_stretch = 1e6;  // of the context

RopeScaling scaling_of(const std::string& name) {
  static const std::map<std::string, RopeScaling> known = {
      {"default", RopeScaling::none},  {"linear", RopeScaling::linear}, {"dynamic", RopeScaling::dynamic},
      {"llama3", RopeScaling::llama3}, {"yarn", RopeScaling::yarn},     {"longrope", RopeScaling::longrope},
      {"su", RopeScaling::longrope},  // what the first Phi-3 configs call it
  };
  const auto found = known.find(name);
  require(found != known.end(), "config.json: RoPE scaling ", name,
          " is not supported; supported: default, linear, dynamic, llama3, yarn, longrope");
  return found->second;
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double yarn_attention_factor(const json& scaling, double factor) {
  const auto mscale = value_or(scaling, "mscale", 0.0), all = value_or(scaling, "mscale_all_dim", 0.0);
  return mscale != 0 && all != 0 ? yarn_mscale(factor, mscale) / yarn_mscale(factor, all)
                                 : yarn_mscale(factor, 1);
}

double longrope_attention_factor(double factor, double original_context) {
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original_context));
}

std::vector<double> pair_factors(const json& scaling, const char* key, const RopeConfig& rope) {
  auto factors = convert<std::vector<double>>(value_at(scaling, key), key);
  require(std::ssize(factors) == rope.rotary_dim / 2, "config.json: RoPE scaling has ", factors.size(),
          " numbers as ", key, "; expected one for each of ", rope.rotary_dim / 2, " pairs");
  for (const double factor : factors)
    require(factor > 0, "config.json: RoPE scaling has the ", key, " ", factor, "; expected more than 0");
  return factors;
}

void read_llama3(const json& scaling, RopeConfig& rope) {
  rope.low_freq_factor = number(scaling, "low_freq_factor");
  rope.high_freq_factor = number(scaling, "high_freq_factor");
  require(rope.high_freq_factor > rope.low_freq_factor,
          "config.json: llama3 RoPE scaling needs high_freq_factor (", rope.high_freq_factor,
          ") above low_freq_factor (", rope.low_freq_factor, ')');
}

void read_yarn(const json& scaling, RopeConfig& rope) {
  rope.beta_fast = value_or(scaling, "beta_fast", 32.0);
  rope.beta_slow = value_or(scaling, "beta_slow", 1.0);
  require(rope.beta_fast > 0 && rope.beta_slow > 0, "config.json: yarn RoPE scaling has beta_fast ",
          rope.beta_fast, " and beta_slow ", rope.beta_slow, "; expected more than 0");
  rope.whole_pairs = value_or(scaling, "truncate", !scaling.contains("truncate"));  // null is false
  rope.attention_factor = value_or(scaling, "attention_factor", yarn_attention_factor(scaling, rope.factor));
}

void check_factor(double factor) {
  require(factor > 0 && factor <= most_stretch, "config.json: RoPE scaling factor ", factor,
          "; expected more than 0 and at most ", most_stretch);
}

// The context that a model was trained with first stands beside the scaling or in it; 0: nowhere.
double original_context(const json& config, const json& scaling) {
  constexpr const char* key = "original_max_position_embeddings";
  const auto beside = value_or(config, key, 0.0), inside = value_or(scaling, key, 0.0);
  require(beside <= 0 || inside <= 0 || beside == inside, "config.json: ", key, " is ", beside,
          " beside the RoPE scaling and ", inside, " in it; expected the same");
  return beside > 0 ? beside : inside;
}

// Where the first context stands beside the scaling alone, transformers 4 takes the ratio of the contexts as
// the factor, and transformers 5 a factor that is given.
void read_longrope(const json& config, const json& scaling, RopeConfig& rope, double context) {
  rope.short_factors = pair_factors(scaling, "short_factor", rope);
  rope.long_factors = pair_factors(scaling, "long_factor", rope);
  const double original = original_context(config, scaling);
  rope.original_context = original > 0 ? original : context;
  const double ratio = context / rope.original_context;
  rope.factor = value_or(scaling, "factor", ratio);
  check_factor(rope.factor);
  const json& attention_factor = value_at(scaling, "attention_factor");
  const bool clear = original <= 0 || value_or(scaling, "original_max_position_embeddings", 0.0) > 0 ||
                     !attention_factor.is_null();
  require(clear || std::abs(rope.factor - ratio) <= 1e-6 * ratio, "config.json: longrope has the factor ",
          rope.factor, ", and its contexts have the ratio ", ratio, "; expected the same");
  rope.attention_factor =
      value_or(scaling, "attention_factor", longrope_attention_factor(rope.factor, rope.original_context));
}

// `type` is the older name of `rope_type`; where both stand, versions of transformers differ in which counts.
RopeScaling scaling_kind(const json& scaling) {
  const auto kind =
      scaling_of(value_or(scaling, "rope_type", value_or(scaling, "type", std::string("default"))));
  require(
      kind == scaling_of(value_or(scaling, "type", value_or(scaling, "rope_type", std::string("default")))),
      "config.json: RoPE scaling has the rope_type ", shown(value_at(scaling, "rope_type")), " and the type ",
      shown(value_at(scaling, "type")), "; expected one");
  return kind;
}

void read_scaling(const json& config, const json& scaling, RopeConfig& rope, double context) {
  rope.scaling = scaling_kind(scaling);
  if (rope.scaling == RopeScaling::none) return;
  if (rope.scaling == RopeScaling::longrope) return read_longrope(config, scaling, rope, context);
  rope.factor = number(scaling, "factor");
  check_factor(rope.factor);
  const bool own_context = rope.scaling != RopeScaling::dynamic;  // which looks at the model's alone
  const double original = own_context ? original_context(config, scaling) : 0;
  rope.original_context = original > 0 ? original : context;
  if (rope.scaling == RopeScaling::llama3) read_llama3(scaling, rope);
  if (rope.scaling == RopeScaling::yarn) read_yarn(scaling, rope);
  require(rope.scaling != RopeScaling::dynamic || rope.rotary_dim > 2,
          "config.json: dynamic RoPE scaling needs more than one pair of channels");
}

const json& rope_settings(const json& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json& settings = value_at(config, key);
    if (settings.is_null() || (settings.is_object() && settings.empty())) continue;
    require(settings.is_object(), "config.json: ", key, " is ", shown(settings), "; expected an object");
    for (const auto& [name, value] : settings.items())
      require(!value.is_object(), "config.json: ", key, " by the type of a layer (", name,
              ") are not supported; supported: the same for all layers");
    return settings;
  }
  return value_at(config, "rope_parameters");
}

double rotary_share(const json& config, const json& settings, const RopeKeys& keys) {
  constexpr const char* key = "partial_rotary_factor";
  const char* beside = keys.share == nullptr ? key : keys.share;
  const auto share = value_or(settings, key, value_or(config, beside, keys.default_share));
  require(keys.share != nullptr || share == 1, "config.json: ", key, " ", share,
          " is not supported; supported: 1");
  require(share > 0 && share <= 1, "config.json: RoPE over ", share,
          " of the channels; expected more than 0 and at most 1");
  require_value(config, key, share);
  return share;
}

}  // namespace

Activation activation_of(const json& config, const char* key, const std::string& fallback) {
  static const std::map<std::string, Activation> known = {
      {"gelu", Activation::gelu},           {"gelu_new", Activation::gelu_tanh},
      {"gelu_fast", Activation::gelu_tanh}, {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"silu", Activation::silu},           {"swish", Activation::silu},
      {"relu", Activation::relu},
  };
  const auto name = value_or(config, key, fallback);
  const auto found = known.find(name);
  require(found != known.end(), "config.json: ", key, ' ', name,
          " is not supported; supported: gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu");
  return found->second;
}

int64_t even_head_dim(int64_t hidden, int64_t heads) {
  require(heads > 0 && hidden % heads == 0, "config.json: a hidden size of ", hidden, " does not divide by ",
          heads, " heads");
  return hidden / heads;
}

std::vector<LayerConfig> repeated(LayerConfig layer, const json& config, const char* count) {
  require(layer.head_dim > 0, "config.json: got a head_dim of ", layer.head_dim, "; expected 1 or more");
  layer.attention_scale = 1 / std::sqrt(static_cast<double>(layer.head_dim));
  return std::vector<LayerConfig>(static_cast<size_t>(whole(config, count, layer_limits)), layer);
}

RopeConfig read_rope(const json& config, const ModelConfig& model, int64_t head_dim, const RopeKeys& keys) {
  const json& settings = rope_settings(config);
  const double share = rotary_share(config, settings, keys);
  RopeConfig rope{.theta = value_or(settings, "rope_theta", value_or(config, keys.theta, keys.default_theta)),
                  .rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * share)};
  require(rope.rotary_dim > 0 && rope.rotary_dim <= head_dim && rope.rotary_dim % 2 == 0,
          "config.json: RoPE over ", rope.rotary_dim, " of ", head_dim,
          " channels; expected an even number of them");
  require(rope.theta > 0, "config.json: rope_theta is ", rope.theta, "; expected more than 0");
  require_value(config, "rope_theta", rope.theta);  // what stands twice, or is not read, must agree
  read_scaling(config, settings, rope, static_cast<double>(model.context));
  return rope;
}

bool has_window(const json& config, int64_t layer, bool fallback) {
  const json& types = value_at(config, "layer_types");
  require(types.is_null() || types.is_array(), "config.json: layer_types is ", shown(types),
          "; expected a list");
  if (types.is_null()) return fallback;
  require(static_cast<int64_t>(types.size()) == value_or(config, "num_hidden_layers", int64_t{0}),
          "config.json: layer_types names ", types.size(), " layers; num_hidden_layers is ",
          shown(value_at(config, "num_hidden_layers")));
  const auto type = convert<std::string>(types[static_cast<size_t>(layer)], "an element of layer_types");
  require(type == "sliding_attention" || type == "full_attention", "config.json: the layer type ", type,
          " is not supported; supported: sliding_attention, full_attention");
  return type == "sliding_attention";
}

}  // namespace kvviz::arch
