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

/// A class of transformers, as config.json's "architectures" names it, and its "model_type".
struct ModelClass {
  std::string name, type;
};

/// A family of models: two functions and the names it goes by. A new family is a file in arch/ and a row in
/// arch.cpp.
struct Architecture {
  std::vector<ModelClass> classes;
  std::string prefix;                ///< of every tensor name; checkpoints of the bare base model lack it
  std::vector<std::string> ignored;  ///< endings of stored names that are no weights (masks, frequencies)
  std::string head = "lm_head";      ///< the head's name, which files of models with a tied one may hold too
  ModelConfig (*parse_config)(const nlohmann::json&);  ///< of a config.json that has its model_type
  std::vector<WeightSource> (*weight_map)(const ModelConfig&);
};

/// The family that parsed this configuration.
const Architecture& architecture_of(const ModelConfig& config);

/// config.json as a ModelConfig, of the class that "architectures" names, else of the first of its
/// "model_type". Throws DataError: unknown class, the two contradict each other, missing or impossible
/// numbers, an option that is not supported, or not of this class (named, with what is).
ModelConfig parse_config(const nlohmann::json& config);

/// One source for every slot of weight_slots(config).
std::vector<WeightSource> weight_map(const ModelConfig& config);

}  // namespace kvviz
