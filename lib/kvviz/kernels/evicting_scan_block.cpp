// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_block.hpp"

#include <algorithm>

#include "kvviz/kernels/attention_simd.hpp"

namespace kvviz::kernels {

const float* pack_queries(const ScanBlock& block, const ScanShape& shape, const SlotOwner& owner,
                          const HeadsView& queries, AlignedFloats& packed) {
  const int64_t dim = shape.head_dim, group = attention_simd().row_group;
  const int64_t rows = block.steps * owner.query_heads, floats = round_up(rows, group) * dim;
  float* const all = packed.at_least(floats);
  std::fill_n(all, floats, 0.0F);
  for (int64_t row = 0; row < rows; ++row) {
    const float* const from = queries.at(owner.first_query_head + row % owner.query_heads,
                                         block.first_row + row / owner.query_heads);
    float* const to = all + row / group * group * dim + row % group;
    for (int64_t c = 0; c < dim; ++c) to[c * group] = from[c] * shape.scale;
  }
  return all;
}

}  // namespace kvviz::kernels
