// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::stats {

/// What each key of a text got so far, in one head or the mean over heads; fp64.
struct ReceivedAttention {
  std::vector<double> mass;  ///< [keys] sum of the weights from the queries at and behind the key
  std::vector<double> own;   ///< [keys] of that, the weight from its own query

  /// The weights of the next query on all keys up to its own.
  void add(std::span<const float> row);
};

/// Attention sinks by a plain threshold, for text that still grows: of the first 16 positions those whose
/// mean weight from the queries at and behind them, mass / (keys - j), is above it. O(1). Unlike sink_keys()
/// it is not corrected for how little every key gets in a long text.
std::vector<int64_t> received_sinks(const ReceivedAttention& received, double threshold);

/// Heavy hitters likewise: no sinks, seen by at least `queries` queries behind them, whose mean weight,
/// (mass - own) / (keys - 1 - j), is above `threshold`. Ascending. O(keys).
std::vector<int64_t> received_heavy(const ReceivedAttention& received, double threshold,
                                    std::span<const int64_t> sinks, int64_t queries = 4);

}  // namespace kvviz::stats
