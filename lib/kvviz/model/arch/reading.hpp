// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/model/arch/values.hpp"
#include "kvviz/model/config.hpp"

// What the readers of config.json share.
namespace kvviz::arch {

/// The activation that config.json calls so. Throws DataError naming `key` and what is supported.
Activation activation_of(const nlohmann::json& config, const char* key, const std::string& fallback);

/// head_dim where the config gives none. Throws DataError unless `hidden` divides by `heads`.
int64_t even_head_dim(int64_t hidden, int64_t heads);

/// `layer` as often as the key `count` says, with attention scaled by 1 / sqrt(head_dim).
std::vector<LayerConfig> repeated(LayerConfig layer, const nlohmann::json& config, const char* count);

/// RoPE over `share` of head_dim: rope_theta, rope_scaling, rope_parameters and
/// original_max_position_embeddings. Throws DataError for a scaling that is not known or is incomplete.
RopeConfig read_rope(const nlohmann::json& config, const ModelConfig& model, int64_t head_dim,
                     double share = 1);

/// Whether `layer_types` says that a layer has the sliding window; `fallback` where it says nothing. Throws
/// DataError for a type other than sliding_attention and full_attention.
bool has_window(const nlohmann::json& config, int64_t layer, bool fallback);

}  // namespace kvviz::arch
