// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::kernels {

/// Consecutive steps whose queries are multiplied together. Row i of the products is query head
/// first_query_head + i % query_heads of the slot set's owner at step i / query_heads.
struct ScanBlock {
  const ScanInput& input;
  int64_t first_row, steps, first_position;
};

/// Columns whose weights and values stay in the fast caches.
inline constexpr int64_t scan_key_block = 256;

inline int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Floats from row to row of a strip: a multiple of 4 KB would map all rows to the same cache sets.
inline int64_t strip_stride(int64_t columns) {
  return round_up(columns, 64) + 16;
}

/// The scaled queries of a block in groups of rows, as AttentionSimd::scores reads them; zeros behind the
/// last.
const float* pack_queries(const ScanBlock& block, const ScanShape& shape, const SlotOwner& owner,
                          const HeadsView& queries, AlignedFloats& packed);

}  // namespace kvviz::kernels
