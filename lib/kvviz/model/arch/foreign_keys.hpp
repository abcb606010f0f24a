// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <vector>

#include "kvviz/model/config.hpp"

// Keys of config.json that change what some model computes, and stand in the files of others.
namespace kvviz::arch {

/// Throws DataError naming a key that changes the results of other models, has another value than the one
/// that changes nothing, and is not read for this model_type: the checkpoint was made for other code.
void refuse_foreign_keys(const nlohmann::json& config);

/// Throws DataError where `layer_types` says of a layer what it was not parsed as.
void check_layer_types(const nlohmann::json& config, const std::vector<LayerConfig>& layers);

}  // namespace kvviz::arch
