// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/attention_call.hpp"
#include "kvviz/kernels/distance_rows.hpp"
#include "kvviz/kernels/top_mass.hpp"

namespace kvviz::kernels {

inline constexpr int64_t block_rows = 48;  ///< rows whose logits are held at once

/// Keys and values of one KV head from key `first_key` on.
struct HeadKeys {
  int64_t first_key = 0;
  const float* panels = nullptr;  ///< packed keys; null: read the problem's keys where they are
  const float* value = nullptr;
  int64_t value_stride = 0;
};

/// Consecutive query heads of one KV head and a range of their queries; heads * queries of one block fit
/// block_rows.
struct AttentionTask {
  int64_t first_head = 0, heads = 1;
  Span queries;
  HeadKeys keys;
};

/// Where the statistics of one head go: numbers per query into `rows`, sums over queries added to `sums` (the
/// same object when the head is one task). Both null without statistics.
struct HeadSinks {
  HeadAttention* rows = nullptr;
  HeadAttention* sums = nullptr;
};

/// Computes tasks block by block, with the buffers of one thread.
class BlockAttention {
 public:
  void run(const AttentionCall& call, const AttentionTask& task, std::span<const HeadSinks> sinks);

 private:
  /// Rows of one head that share a bin of the map and are all recent or all not, all early or all not.
  struct Segment {
    Span rows, columns;
    int64_t head = 0, bin = 0;
    bool recent = false, early = false;
  };
  struct Block;

  void fill_visible(const Block& block);
  void fill_logits(const Block& block);
  void add_distances(const Block& block);
  void fill_segments(const Block& block);
  void add_column_sums(const Block& block, Span columns);
  void add_row_statistics(const Block& block);
  void write_output(const Block& block, const float* out) const;

  AlignedFloats queries_, strip_, out_, column_sums_;
  std::vector<Span> visible_;
  DistanceRows distances_;
  std::vector<RowSums> row_sums_;
  std::vector<float> inverse_, heaviest_;
  std::vector<Segment> segments_;
  TopMass top_mass_;
};

}  // namespace kvviz::kernels
