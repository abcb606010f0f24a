// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/model/config.hpp"

namespace kvviz {

/// Budgets of every layer and KV head, [layers x kv_heads], from a TSV with the columns layer, kv_head,
/// budget in any order and any row order. Throws DataError naming file and line: a column, a layer or a head
/// is missing, named twice or not in the model, a budget is no number above 0.
std::vector<int64_t> read_budgets(const std::filesystem::path& file, const ModelConfig& config);

/// Writes the keys that a policy held at the end, layer by layer and KV head by KV head, as such a table.
void write_budgets(const std::filesystem::path& file, std::span<const analysis::SetOutcome> sets);

}  // namespace kvviz
