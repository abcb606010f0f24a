// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/model/config.hpp"
#include "kvviz/report/result.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz {

/// What a configuration says of a model's architecture, for readers and for programs.
std::vector<Fact> architecture_facts(const ModelConfig& config);

/// "model_layers", key: layers. Neighbouring layers of the same shape in one row.
Table layer_shapes_table(const ModelConfig& config);

/// "projections", key: projection. The matrices of the first layer: shape, parameters, share of the model.
Table projections_table(const ModelConfig& config);

}  // namespace kvviz
