// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/analysis/cache_profile.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// The keys of a layer that stand out, by its mean attention over heads (stats::received_sinks() above 0.10,
/// received_heavy() above 0.05).
struct KeyMarks {
  std::vector<int64_t> sinks, heavy;
};

/// `keys`: of the full cache, any layers.
KeyMarks marks_of(std::span<const KeyUse> keys, int layer);

/// A grid of blocks, neighbouring blocks of a layer put together so that there are at most so many columns.
/// Each array is [layers x columns].
struct Columns {
  int64_t layers = 0, columns = 0, blocks_per_column = 1;
  std::vector<uint8_t> tier;            ///< the slowest of its blocks by age; 255: nothing is held
  std::vector<float> reads, attention;  ///< sums of BlockAccess; empty without a measurement
  std::vector<uint8_t> mark;            ///< 2: holds a sink, 1: a heavy hitter, 0: neither; empty likewise
};

/// `marks`: of each layer, or empty.
Columns columns_of(const analysis::CacheProfile& profile, int64_t most_columns, int64_t block_tokens,
                   std::span<const KeyMarks> marks);

}  // namespace kvviz
