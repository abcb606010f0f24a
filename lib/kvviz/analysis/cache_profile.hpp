// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_size.hpp"

namespace kvviz::analysis {

// Where the blocks of a cache are kept when no single memory holds it, and what a decode step then moves.

/// A memory that blocks can be allocated in. A GPU's L2 is none: data passes through it, nothing is placed.
struct MemoryTier {
  std::string name;
  int64_t capacity = 0;         ///< bytes free for the cache
  double bytes_per_second = 0;  ///< at which the accelerator receives what is kept there
};

/// What a simulation measured with the full cache, each [layers, kv_heads, tokens].
struct MeasuredAccess {
  int64_t layers = 0, kv_heads = 0, tokens = 0;
  std::vector<int32_t> reads;  ///< later steps at which an entry was in demand
  std::vector<float> mass;     ///< attention weight it received after the step it was written
};

/// A block: the entries of `block_tokens` neighbouring positions in one layer, all KV heads, all sequences.
/// Blocks are allocated whole.
struct BlockOptions {
  int64_t tokens = 0;  ///< length of every sequence
  int64_t block_tokens = 16;
  int64_t first_tokens = 4;  ///< by age, blocks with these positions count as the newest: attention sinks
};

/// The blocks in a grid of layers x columns; column c holds positions [c, c + 1) x block_tokens.
struct BlockGrid {
  int64_t layers = 0, columns = 0;
  std::vector<int64_t> held;       ///< [layers x columns] positions kept; 0: the window has passed
  std::vector<int64_t> allocated;  ///< [layers] bytes of one block of that layer
  std::vector<int64_t> entry;  ///< [layers] bytes of one position of that layer, all KV heads, all sequences
};

/// Measured access of blocks, each [layers x columns]; all empty without a measurement.
struct BlockAccess {
  std::vector<double> reads;  ///< entries (of one KV head) in demand at a step, expected
  std::vector<double> rate;   ///< reads / entries: the share of steps at which an entry was in demand; NaN
                              ///< where nothing is held
  std::vector<double> attention;  ///< weight a step that its entries receive: mass / later steps, summed; the
                                  ///< newest entry, which no step has seen yet, has none
};

/// What is kept in a tier, and what a decode step takes from it. Bytes are of all sequences.
struct TierLoad {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();
  int64_t blocks = 0;
  int64_t allocated = 0;        ///< bytes of whole blocks
  double held = 0;              ///< bytes of their entries: read every step by exact attention
  double demand = none;         ///< expected bytes a step of the entries in demand
  double demand_blocks = none;  ///< the same where whole blocks move, at most: a block is in demand with at
                                ///< most the sum of its entries' probabilities
  double attention = none;      ///< share of the attention of a step that its entries receive
};

/// One way of placing the blocks.
struct Placement {
  std::string name;            ///< "age", "access" or "bound"
  std::vector<int> tier;       ///< [layers x columns], -1: holds nothing; empty for the bound
  std::vector<TierLoad> load;  ///< per tier
};

struct CacheProfile {
  std::vector<MemoryTier> tiers;
  BlockGrid grid;
  BlockAccess access;
  /// age: newest blocks (and those of the first tokens) in the fastest tier. With a measurement also
  /// access: blocks with the most expected demand a byte first; and bound: single entries placed so, cut at
  /// the capacities, which no placement of blocks or entries can beat under that demand.
  std::vector<Placement> placements;
};

/// Places the cache. Demand of an entry a step is reads / later steps (tokens - 1 - position), the rate at
/// which it was needed while it was in the cache; the newest entry, which no step has read yet, counts as
/// needed. `access` may be null. O(blocks log blocks), with access O(entries log entries).
///
/// Throws UsageError: sizes below 1, no tiers, tiers not from fastest to slowest. DataError: the blocks do
/// not fit (says how many bytes lack), the measurement has another geometry or length, counts below 0 or
/// above the later steps.
CacheProfile cache_profile(const CacheShape& shape, const CacheType& type, const BlockOptions& options,
                           const std::vector<MemoryTier>& tiers, const MeasuredAccess* access);

/// Time to move these loads one after the other, in seconds: sum over tiers of bytes / bandwidth.
double step_seconds(const CacheProfile& profile, const Placement& placement, double TierLoad::*bytes);

}  // namespace kvviz::analysis
