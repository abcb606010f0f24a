// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::policy {

/// A row of numbers for every held key, next to each other, so that they can be multiplied in one product.
/// Rows move only in release().
class HeldRows {
 public:
  explicit HeldRows(int64_t width) : width_(width) {}

  /// Calls free(row) for the keys that left since the last call, then forgets them.
  template <class Free>
  void release(const kernels::ScanStep& step, const kernels::SlotSet& set, const Free& free) {
    for (; logged_ < set.log().size(); ++logged_) forget(set.log()[logged_].position, free);
    if (step.shape.window > 0) forget(step.position - step.shape.window, free);
    if (rows() > 64 && std::ssize(unused_) > rows() / 4) compact();
  }

  /// The row of a new key, to be filled.
  float* add(int64_t position);

  int64_t rows() const { return static_cast<int64_t>(positions_.size()); }  ///< free ones among them
  int64_t position(int64_t row) const { return positions_[static_cast<size_t>(row)]; }  ///< -1: free
  const float* data() const { return data_.data(); }

 private:
  void compact();
  template <class Free>
  void forget(int64_t position, const Free& free) {
    if (position < 0 || position >= std::ssize(row_of_)) return;
    const int64_t row = row_of_[static_cast<size_t>(position)];
    if (row < 0) return;
    free(data_.data() + row * width_);
    row_of_[static_cast<size_t>(position)] = -1;
    positions_[static_cast<size_t>(row)] = -1;
    unused_.push_back(row);
  }

  int64_t width_;
  size_t logged_ = 0;
  std::vector<float> data_;
  std::vector<int64_t> positions_, row_of_, unused_;
};

}  // namespace kvviz::policy
