// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::kernels {

/// Mass of the 2^b heaviest of many weights, b = 0..15, exactly and without sorting them all: the weights are
/// counted in buckets of 1/32 of an octave, and only the buckets that a boundary 2^b falls into are sorted.
class TopMass {
 public:
  static constexpr size_t counts = 16;

  /// Adds factor * (sum of the 2^b largest weights, or of all when there are fewer) to top[b]. The weights
  /// are in [0, 1]; where one may be NaN the factor has to be, and then all sums are. top has `counts`
  /// elements.
  void add(std::span<const float> weights, double factor, std::span<double> top);

 private:
  struct Bucket {
    double sum = 0;
    uint32_t count = 0;
    bool cut = false;  ///< a boundary falls inside
  };
  std::vector<Bucket> buckets_;
  std::vector<uint32_t> in_cut_buckets_;
};

}  // namespace kvviz::kernels
