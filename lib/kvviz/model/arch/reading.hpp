// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/model/config.hpp"

// What the readers of config.json share.
namespace kvviz::arch {

/// The value of a key, or `fallback` where it is absent or null: published configs write both.
template <class T>
T value_or(const nlohmann::json& config, const char* key, T fallback) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? fallback : found->get<T>();
}

/// Throws DataError unless `key` has one of the supported values, or is absent.
template <class T>
void require_value(const nlohmann::json& config, const char* key, const T& supported) {
  const auto found = config.find(key);
  require(found == config.end() || found->is_null() || found->get<T>() == supported, "config.json: ", key,
          " ", found == config.end() ? std::string() : found->dump(),
          " is not supported; supported: ", nlohmann::json(supported).dump());
}

/// The activation that config.json calls so. Throws DataError naming `key` and what is supported.
Activation activation_of(const nlohmann::json& config, const char* key, const std::string& fallback);

/// head_dim where the config gives none. Throws DataError unless `hidden` divides by `heads`.
int64_t even_head_dim(int64_t hidden, int64_t heads);

/// `layer` so often, with attention scaled by 1 / sqrt(head_dim).
std::vector<LayerConfig> repeated(LayerConfig layer, int64_t count);

/// RoPE over `share` of head_dim: rope_theta, rope_scaling, rope_parameters and
/// original_max_position_embeddings. Throws DataError for a scaling that is not known or is incomplete.
RopeConfig read_rope(const nlohmann::json& config, const ModelConfig& model, int64_t head_dim,
                     double share = 1);

/// Whether `layer_types` says that a layer has the sliding window; `fallback` where it says nothing. Throws
/// DataError for a type other than sliding_attention and full_attention.
bool has_window(const nlohmann::json& config, int64_t layer, bool fallback);

}  // namespace kvviz::arch
