// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/kernels/attention_simd.hpp"

namespace kvviz::kernels {

/// Owns the arrays of a DistanceBias; kept between strips for their memory.
class DistanceRows {
 public:
  /// Forgets the rows, and makes room for so many keys.
  void start(int64_t columns) {
    slope_.clear();
    query_.clear();
    key_.assign(static_cast<size_t>((columns + 15) / 16 * 16), 0);
  }
  void add_row(float slope, int64_t query) {
    slope_.push_back(slope);
    query_.push_back(static_cast<int32_t>(query));
  }
  int32_t* keys() { return key_.data(); }
  DistanceBias bias() const { return {slope_.data(), query_.data(), key_.data()}; }

 private:
  std::vector<float> slope_;
  std::vector<int32_t> query_, key_;
};

}  // namespace kvviz::kernels
