// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_slots.hpp"

#include <cassert>
#include <limits>

namespace kvviz::kernels {

void KeyColumns::reserve(int64_t columns) {
  data_.reserve((columns + panel_ - 1) / panel_ * panel_ * dim_);
}

void KeyColumns::write(int64_t first, const float* key, int64_t stride, int64_t count) {
  for (int64_t begin = 0; begin < count;) {
    const int64_t here = std::min(count - begin, panel_ - (first + begin) % panel_);
    float* const to = at(first + begin);
    for (int64_t c = 0; c < dim_; ++c) {
      for (int64_t j = 0; j < here; ++j) to[c * panel_ + j] = key[(begin + j) * stride + c];
    }
    begin += here;
  }
}

void KeyColumns::move(int64_t from, int64_t to) {
  const float* const source = at(from);
  float* const target = at(to);
  for (int64_t c = 0; c < dim_; ++c) target[c * panel_] = source[c * panel_];
}

SlotSet::SlotSet(const SlotOwner& owner, bool ordered)
    : owner_(owner), keeps_order_(ordered), positions_(std::numeric_limits<double>::infinity()) {}

void SlotSet::reserve(int64_t columns) {
  positions_.reserve(columns);
  scores_.reserve(columns);
  weights_.reserve(columns);
}

void SlotSet::enter(int64_t position) {
  step_ = position;
  const int64_t column = columns_++;
  positions_.data()[column] = static_cast<double>(position);
  scores_.data()[column] = 0;
  column_of_.reserve(position + 1);
  column_of_.data()[position] = static_cast<int32_t>(column);
  if (keeps_order_) ordered_.push_back(static_cast<int32_t>(position));
  peak_ = std::max(peak_, ++kept_);
}

void SlotSet::add_weights() {
  evicting_scan_simd().add(weights_.data(), columns_, scores_.data());
}

int64_t SlotSet::lowest(int64_t begin, int64_t end) const {
  return evicting_scan_simd().lowest(scores_.data(), positions_.data(), columns_, static_cast<double>(begin),
                                     static_cast<double>(end));
}

void SlotSet::remove(int64_t column) {
  const int64_t at = position(column);
  assert(at >= 0);
  column_of_.data()[at] = -1;
  positions_.data()[column] = std::numeric_limits<double>::infinity();
  weights_.data()[column] = 0;
  if (keeps_order_) ordered_.erase(std::lower_bound(ordered_.begin(), ordered_.end(), at));
  holes_.push_back(column);
  --kept_;
}

void SlotSet::drop(int64_t column) {
  log_.push_back({static_cast<int32_t>(step_), static_cast<int32_t>(position(column))});
  remove(column);
}

const std::vector<SlotSet::Move>& SlotSet::compact() {
  moves_.clear();
  std::sort(holes_.begin(), holes_.end());
  for (const int64_t hole : holes_) {
    while (columns_ > 0 && position(columns_ - 1) < 0) --columns_;
    if (hole >= columns_) break;
    const int64_t last = --columns_;
    moves_.push_back({last, hole});
    positions_.data()[hole] = positions_.data()[last];
    positions_.data()[last] = std::numeric_limits<double>::infinity();
    scores_.data()[hole] = scores_.data()[last];
    column_of_.data()[position(hole)] = static_cast<int32_t>(hole);
  }
  while (columns_ > 0 && position(columns_ - 1) < 0) --columns_;
  holes_.clear();
  assert(columns_ == kept_);
  return moves_;
}

std::vector<int32_t> SlotSet::kept_positions() const {
  std::vector<int32_t> positions;
  for (int64_t c = 0; c < columns_; ++c) {
    if (position(c) >= 0) positions.push_back(static_cast<int32_t>(position(c)));
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

}  // namespace kvviz::kernels
