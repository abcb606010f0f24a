// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/cache_size.hpp"
#include "kvviz/model/config.hpp"
#include "kvviz/report/result.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz {

/// What a configuration says of a model's architecture, for readers and for programs.
std::vector<Fact> architecture_facts(const ModelConfig& config);

/// What `kvviz models info` says of sizes: in one dtype at one length, and beside the memory of this machine.
std::vector<Fact> size_facts(const ModelConfig& config, const analysis::CacheType& type, int64_t tokens);

/// Keys and values of the model's layers.
analysis::CacheShape cache_shape(const ModelConfig& config);

/// Neighbouring layers of the same shape, the MLP included.
struct LayerGroup {
  int64_t first = 0, count = 0;
  LayerConfig layer;
};
std::vector<LayerGroup> layer_groups(const ModelConfig& config);

/// "model_layers", key: layers. Neighbouring layers of the same shape in one row.
Table layer_shapes_table(const ModelConfig& config);

/// "projections", key: projection. The matrices of the first layer: shape, parameters, share of the model.
Table projections_table(const ModelConfig& config);

}  // namespace kvviz
