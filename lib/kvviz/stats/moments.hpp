// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>
#include <span>

namespace kvviz::stats {

/// "There is no such number."
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Power sums of f32 elements in fp64; m2, m3, m4 are sums of powers of x - mean.
struct Moments {
  int64_t count = 0, zeros = 0;
  double sum = 0, sum_abs = 0, sum_sq = 0, sum_4 = 0;
  double m2 = 0, m3 = 0, m4 = 0;
  double abs_max = 0;
};

/// One sweep, in blocks whose central sums are taken about the block's own mean (no cancellation).
Moments moments(std::span<const float> x);

/// Moments of two sets of elements together (Pebay, SAND2008-6212).
Moments merge(const Moments& a, const Moments& b);

double mean(const Moments& m);
double mean_abs(const Moments& m);
double rms(const Moments& m);
double std_population(const Moments& m);  ///< divisor n
double std_sample(const Moments& m);      ///< divisor n - 1; kNone for one element

/// (sqrt n - |x|_1 / |x|_2) / (sqrt n - 1) (Hoyer, JMLR 5, 2004): 0 when all magnitudes are equal, 1 for one
/// nonzero element and when all are zero; 0 for a single nonzero element.
double hoyer(const Moments& m);

/// (sum x^2)^2 / (n sum x^4): the share of elements that carry the energy. 1/n .. 1, 1/3 for Gaussian
/// elements; 0 when all are zero.
double participation_ratio(const Moments& m);

/// n m4 / m2^2 - 3, 0 for Gaussian elements. kNone without variance.
double excess_kurtosis(const Moments& m);

/// The least float that is not below `threshold` (+infinity above all floats): |x| < threshold for a float x
/// is |x| < this.
float least_float_from(double threshold);

/// Elements with |x| < threshold, strictly.
int64_t count_below(std::span<const float> x, double threshold);

/// Sums over a short row.
struct RowSums {
  double sum_sq = 0, sum_abs = 0;
  int64_t below = 0;  ///< |x| < limit
};
RowSums row_sums(std::span<const float> x, float limit);

/// Largest |x|; +infinity as soon as one element is NaN or infinite.
double largest_magnitude(std::span<const float> x);

/// Least |x| and least nonzero |x| (+infinity when there is none), of finite elements.
struct LeastMagnitude {
  double any = std::numeric_limits<double>::infinity(), nonzero = std::numeric_limits<double>::infinity();
};
LeastMagnitude least_magnitude(std::span<const float> x);

/// Pearson-like legacy correlation of two equally long arrays: mean((a - mean a)(b - mean b)) / (s_a s_b +
/// 1e-8), the mean with divisor n and the standard deviations with n - 1. kNone for one element.
struct CrossMoments {
  int64_t count = 0;
  double sum_a = 0, sum_b = 0, m2_a = 0, m2_b = 0, m_ab = 0;
};
CrossMoments cross_moments(std::span<const float> a, std::span<const float> b);
CrossMoments merge(const CrossMoments& a, const CrossMoments& b);
double legacy_correlation(const CrossMoments& m);

/// Fraction of the total that float arithmetic alone may leave: a variance below this share of the mean
/// square is none. One differing bit in one f32 element stays above it for up to 10^11 elements.
inline constexpr double kNoVariance = 1e-26;

}  // namespace kvviz::stats
