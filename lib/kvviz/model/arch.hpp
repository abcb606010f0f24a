// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvviz/model/config.hpp"

namespace kvviz {

/// Where a tensor of ours comes from: the stored tensor, transposed if said so, and of that the rows from
/// `first_row` on, as many as ours has. Fused tensors that interleave their parts have a `period`: our rows
/// are then an equal share of every `period` rows, from `first_row` of each on.
struct WeightSource {
  std::string ours, theirs;
  bool transposed = false;
  int64_t first_row = 0;
  int64_t stored_rows = 0;  ///< all rows of the stored tensor; 0: exactly ours
  int64_t period = 0;       ///< divides stored_rows; 0: our rows stand together
  double added = 0;         ///< to every element
};

/// A family of models: two functions and the names it goes by. A new family is a file in arch/ and a row in
/// arch.cpp.
struct Architecture {
  std::vector<std::string> names;    ///< of config.json's "architectures"
  std::vector<std::string> types;    ///< of config.json's "model_type"
  std::string prefix;                ///< of every tensor name; checkpoints of the bare base model lack it
  std::vector<std::string> ignored;  ///< endings of stored names that are no weights (masks, frequencies)
  ModelConfig (*parse_config)(const nlohmann::json&);
  std::vector<WeightSource> (*weight_map)(const ModelConfig&);
};

/// The family that a config.json names. Throws DataError listing the supported ones.
const Architecture& architecture_of(const nlohmann::json& config);
/// The family that parsed this configuration.
const Architecture& architecture_of(const ModelConfig& config);

/// config.json as a ModelConfig. Throws DataError: unknown architecture, missing or impossible numbers, an
/// option that is not supported (named, with what is).
ModelConfig parse_config(const nlohmann::json& config);

/// One source for every slot of weight_slots(config).
std::vector<WeightSource> weight_map(const ModelConfig& config);

}  // namespace kvviz
