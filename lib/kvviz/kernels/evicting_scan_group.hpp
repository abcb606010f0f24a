// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/attention_simd.hpp"
#include "kvviz/kernels/distance_rows.hpp"
#include "kvviz/kernels/evicting_scan.hpp"
#include "kvviz/kernels/evicting_scan_full.hpp"

namespace kvviz::kernels {

/// Logits, later weights, of the steps of one block for one slot set; kept between the blocks for their
/// memory.
struct ScanBuffers {
  AlignedFloats queries, strip, out;
  std::vector<Span> visible;
  std::vector<float> inverse;
  std::vector<int32_t> rank;
  DistanceRows distances;
  FullBuffers full;
};

/// The slot sets of one decision group with their keys and values, and the steps over them.
class GroupScan {
 public:
  GroupScan(const ScanShape& shape, const ScanOptions& options, DecisionGroup group,
            std::span<HeadComparison> comparisons);
  void advance(const ScanInput& input, int64_t first_position);
  std::span<const SlotSet> sets() const { return sets_; }

 private:
  struct Store {
    KeyColumns keys;
    AlignedArray<float> values;
    std::optional<FullAttention> full;
  };
  int64_t block_steps() const;
  void append(const ScanBlock& block, size_t set);
  void fill_logits(const ScanBlock& block, size_t set);
  void add_distances(const ScanBlock& block, size_t set, const Strip& logits);
  void rotate_logits(const ScanBlock& block, size_t set, int64_t step);
  void add_ranks(size_t set, const Strip& logits);
  void weigh(const ScanBlock& block, size_t set, int64_t step);
  void compare(const ScanBlock& block, size_t set, int64_t step);
  void write_output(const ScanBlock& block, size_t set);
  void compact(size_t set);
  ScanBuffers& buffers(size_t set);
  Strip strip(const ScanBlock& block, size_t set);

  ScanShape shape_;
  ScanOptions options_;
  EvictionRule::Needs needs_;
  std::unique_ptr<EvictionRule> rule_;
  std::span<HeadComparison> comparisons_;
  std::vector<SlotSet> sets_;
  std::vector<Store> stores_;
  std::vector<ScanBuffers> own_buffers_;
  std::vector<int64_t> base_;  ///< columns of each set when the block began
};

}  // namespace kvviz::kernels
