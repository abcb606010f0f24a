// SPDX-License-Identifier: MIT
#pragma once
#include <Eigen/Core>
#include <span>
#include <vector>

#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::policy {

/// Softmax rows of one slot set over every key that ever came, evicted ones included, from the run's own
/// queries and keys. (SlotSet::full_weights() are those of a run that never evicted.) 2 head_dim (t + 1)
/// flops a step and query head; keeps all keys.
class FullRows {
 public:
  explicit FullRows(kernels::Aggregate aggregate) : aggregate_(aggregate) {}

  /// Weights by position at this step, aggregated over the owner's query heads; 0 outside a sliding window.
  std::span<const float> next(const kernels::ScanStep& step, const kernels::SlotOwner& owner);

 private:
  kernels::Aggregate aggregate_;
  std::vector<float> keys_;  ///< [tokens, head_dim]
  Eigen::ArrayXf row_, sum_;
};

}  // namespace kvviz::policy
