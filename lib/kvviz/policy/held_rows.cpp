// SPDX-License-Identifier: MIT
#include "kvviz/policy/held_rows.hpp"

#include <algorithm>

namespace kvviz::policy {

float* HeldRows::add(int64_t position) {
  if (unused_.empty()) {
    unused_.push_back(rows());
    positions_.push_back(-1);
    data_.resize(data_.size() + static_cast<size_t>(width_));
  }
  const int64_t row = unused_.back();
  unused_.pop_back();
  positions_[static_cast<size_t>(row)] = position;
  row_of_.resize(static_cast<size_t>(position) + 1, -1);
  row_of_.back() = row;
  return data_.data() + row * width_;
}

void HeldRows::compact() {
  int64_t held = 0;
  for (int64_t row = 0; row < rows(); ++row) {
    const int64_t at = position(row);
    if (at < 0) continue;
    if (held < row) std::copy_n(data_.data() + row * width_, width_, data_.data() + held * width_);
    positions_[static_cast<size_t>(held)] = at;
    row_of_[static_cast<size_t>(at)] = held++;
  }
  positions_.resize(static_cast<size_t>(held));
  data_.resize(static_cast<size_t>(held * width_));
  unused_.clear();
}

}  // namespace kvviz::policy
