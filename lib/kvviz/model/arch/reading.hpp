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

/// What a family calls its base and the share of head_dim that turns, and what they are where absent.
struct RopeKeys {
  const char* theta = "rope_theta";
  double default_theta = 10000;
  const char* share = nullptr;  ///< null: all of head_dim turns, and another share is refused
  double default_share = 1;
};

/// RoPE by rope_scaling, else rope_parameters (transformers 5 writes all of it there), and by the keys beside
/// them, which count where these do not say: base, share, original_max_position_embeddings. Throws DataError
/// for a scaling that is not known, is incomplete, differs by layer, or contradicts itself.
RopeConfig read_rope(const nlohmann::json& config, const ModelConfig& model, int64_t head_dim,
                     const RopeKeys& keys = {});

/// Whether `layer_types` says that a layer has the sliding window; `fallback` where it says nothing. Throws
/// DataError for a type other than sliding_attention and full_attention.
bool has_window(const nlohmann::json& config, int64_t layer, bool fallback);

}  // namespace kvviz::arch
