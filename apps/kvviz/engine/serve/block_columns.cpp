// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/block_columns.hpp"

#include <algorithm>

#include "kvviz/stats/received_attention.hpp"

namespace kvviz {
namespace {

constexpr uint8_t nothing_held = 255, heavy_mark = 1, sink_mark = 2;

/// Sums of neighbouring blocks.
std::vector<float> summed(const std::vector<double>& blocks, const analysis::BlockGrid& grid,
                          const Columns& columns) {
  std::vector<double> sums(columns.tier.size());
  for (int64_t layer = 0; layer < grid.layers; ++layer)
    for (int64_t block = 0; block < grid.columns; ++block)
      sums[static_cast<size_t>(layer * columns.columns + block / columns.blocks_per_column)] +=
          blocks[static_cast<size_t>(layer * grid.columns + block)];
  return {sums.begin(), sums.end()};
}

std::vector<uint8_t> slowest_tiers(const std::vector<int>& tiers, const analysis::BlockGrid& grid,
                                   const Columns& columns) {
  std::vector<uint8_t> slowest(static_cast<size_t>(grid.layers * columns.columns), nothing_held);
  for (int64_t layer = 0; layer < grid.layers; ++layer)
    for (int64_t block = 0; block < grid.columns; ++block) {
      const int tier = tiers[static_cast<size_t>(layer * grid.columns + block)];
      uint8_t& seen =
          slowest[static_cast<size_t>(layer * columns.columns + block / columns.blocks_per_column)];
      if (tier >= 0 && (seen == nothing_held || tier > seen)) seen = static_cast<uint8_t>(tier);
    }
  return slowest;
}

}  // namespace

KeyMarks marks_of(std::span<const KeyUse> keys, int layer) {
  constexpr double sink_threshold = 0.10, heavy_threshold = 0.05;
  stats::ReceivedAttention received;
  double sets = 0;
  for (const KeyUse& use : keys) {
    if (use.layer != layer) continue;
    received.mass.resize(use.mass.size());
    received.own.resize(use.mass.size());
    for (size_t i = 0; i < use.mass.size(); ++i) {
      received.mass[i] += use.mass[i];
      received.own[i] += use.mass[i] - use.later_mass[i];
    }
    ++sets;
  }
  for (auto* numbers : {&received.mass, &received.own})
    for (double& number : *numbers) number /= sets;
  KeyMarks marks{.sinks = stats::received_sinks(received, sink_threshold), .heavy = {}};
  marks.heavy = stats::received_heavy(received, heavy_threshold, marks.sinks);
  return marks;
}

Columns columns_of(const analysis::CacheProfile& profile, int64_t most_columns, int64_t block_tokens,
                   std::span<const KeyMarks> marks) {
  const analysis::BlockGrid& grid = profile.grid;
  Columns columns{.layers = grid.layers};
  columns.blocks_per_column = (grid.columns + most_columns - 1) / most_columns;
  columns.columns = (grid.columns + columns.blocks_per_column - 1) / columns.blocks_per_column;
  columns.tier = slowest_tiers(profile.placements.front().tier, grid, columns);
  if (profile.access.reads.empty()) return columns;
  columns.reads = summed(profile.access.reads, grid, columns);
  columns.attention = summed(profile.access.attention, grid, columns);
  columns.mark.assign(columns.tier.size(), 0);
  const int64_t column_tokens = block_tokens * columns.blocks_per_column;
  for (size_t layer = 0; layer < marks.size(); ++layer) {
    const auto put = [&](int64_t key, uint8_t mark) {
      const size_t at =
          layer * static_cast<size_t>(columns.columns) + static_cast<size_t>(key / column_tokens);
      if (columns.tier[at] != nothing_held) columns.mark[at] = std::max(columns.mark[at], mark);
    };
    for (const int64_t key : marks[layer].sinks) put(key, sink_mark);
    for (const int64_t key : marks[layer].heavy) put(key, heavy_mark);
  }
  return columns;
}

}  // namespace kvviz
