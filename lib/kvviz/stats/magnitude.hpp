// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::stats {

/// The magnitudes at the given 0-based positions of the ascending order of |x|: exact, without sorting (a
/// histogram of the leading bits, then the few elements of the wanted bins). x finite; 0 <= position < size.
std::vector<double> magnitude_order(std::span<const float> x, std::span<const int64_t> positions);

/// Share of sum x^2 in the ceil(fraction n) largest magnitudes, for every fraction in (0, 1]; 1 when all are
/// zero.
std::vector<double> top_energy(std::span<const float> x, std::span<const double> fractions);

/// The Gini index of |x|: 1 - 2 sum_k c_k / |x|_1 (n - k + 1/2) / n, with c_1 <= ... <= c_n the ascending
/// magnitudes (Hurley & Rickard, IEEE Trans. Inf. Theory 55(10), 2009). 0 when all magnitudes are equal,
/// sqrt 2 - 1 for Gaussian elements, 1 - 1/n for one nonzero element; 1 when all are zero. Does not depend on
/// scale, nor on how often the elements are repeated. fp64 sums; x finite and not empty; a radix sort.
double gini(std::span<const float> x);

/// Counts of magnitudes in logarithmic bins: edge i is 10^((first_edge + i) / bins_per_decade), a bin holds
/// its left edge. Zeros are in no bin.
class LogBins {
 public:
  /// Bins that hold every magnitude of [least, most], 0 < least <= most; 1 .. 20 bins a decade.
  LogBins(double least, double most, int64_t bins_per_decade);

  std::vector<double> log10_edges() const;
  int64_t bins() const { return static_cast<int64_t>(edges_.size()) - 1; }
  /// Adds to counts [bins()]; returns the number of zeros.
  int64_t count(std::span<const float> x, std::span<int64_t> counts) const;

 private:
  int64_t first_edge_ = 0, bins_per_decade_ = 1;
  std::vector<float> edges_;        // the least float that is not below the edge
  std::vector<int32_t> first_bin_;  // of each group of floats with equal leading bits
};

/// Adds the counts of |x| in counts.size() equal bins from least to most, edges in fp64; the last bin holds
/// its right edge. least == most: one unit wide, around it, as numpy does.
struct LinearBins {
  double least = 0, most = 0;
  int64_t bins = 1;
  double edge(int64_t i) const;
  void count(std::span<const float> x, std::span<int64_t> counts) const;
};

}  // namespace kvviz::stats
