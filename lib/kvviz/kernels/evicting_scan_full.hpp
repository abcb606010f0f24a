// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/attention_simd.hpp"
#include "kvviz/kernels/distance_rows.hpp"
#include "kvviz/kernels/evicting_scan_block.hpp"

namespace kvviz::kernels {

/// Weights and outputs of one block; kept between the blocks for their memory.
struct FullBuffers {
  AlignedFloats queries, strip, out, row;
  std::vector<Span> visible;
  std::vector<RowSums> sums;
  std::vector<float> inverse;
  DistanceRows distances;
};

/// Attention of the queries of one slot set over all keys ever seen, block by block beside the evicting one;
/// of ScanInput::full_q and full_k where they are given. Keeps all keys, and all values where outputs are
/// wanted and not given.
class FullAttention {
 public:
  FullAttention(const ScanShape& shape, const SlotOwner& owner, bool outputs);
  /// Weights and outputs of a block.
  void fill(const ScanBlock& block, FullBuffers& buffers);
  /// The weights of a step by position, aggregated; until the next call with these buffers.
  std::span<const float> weights(const ScanBlock& block, int64_t step, Aggregate how,
                                 FullBuffers& buffers) const;
  /// Adds mass, bound, demands and hits of row `row`, whose query attended to the keys of `slots`.
  void compare(const ScanBlock& block, int64_t row, const SlotSet& slots, FullBuffers& buffers,
               HeadComparison& result) const;
  /// |out - out_full| / |out_full| of row `row`.
  float error(const ScanBlock& block, int64_t row, const float* out, FullBuffers& buffers) const;

 private:
  void add_distances(const ScanBlock& block, const Strip& strip, DistanceRows& distances) const;
  void fill_outputs(const ScanBlock& block, const Strip& strip, AlignedFloats& out);
  int64_t stride(const ScanBlock& block) const { return strip_stride(block.first_position + block.steps); }

  ScanShape shape_;
  SlotOwner owner_;
  bool outputs_;
  KeyColumns keys_;
  AlignedArray<float> values_;
};

}  // namespace kvviz::kernels
