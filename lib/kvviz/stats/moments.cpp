// SPDX-License-Identifier: MIT
#include "kvviz/stats/moments.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {
namespace {

constexpr size_t kBlock = 4096;  // floats: stays in the first-level cache between the two loops
constexpr int32_t kMagnitudeBits = 0x7fffffff, kInfinityBits = 0x7f800000;

Moments block_moments(const float* x, size_t n) {
  double sum = 0, sum_abs = 0;
  float top = 0;
  int32_t zeros = 0;
#pragma omp simd reduction(+ : sum, sum_abs, zeros) reduction(max : top)
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    sum += static_cast<double>(x[i]);
    sum_abs += static_cast<double>(magnitude);
    top = std::max(top, magnitude);
    zeros += x[i] == 0 ? 1 : 0;
  }
  const double center = sum / static_cast<double>(n);
  double sum_sq = 0, sum_4 = 0, m2 = 0, m3 = 0, m4 = 0;
#pragma omp simd reduction(+ : sum_sq, sum_4, m2, m3, m4)
  for (size_t i = 0; i < n; ++i) {
    const double value = x[i];
    const double square = value * value;
    const double d = value - center;
    const double d2 = d * d;
    sum_sq += square;
    sum_4 += square * square;
    m2 += d2;
    m3 += d2 * d;
    m4 += d2 * d2;
  }
  return {static_cast<int64_t>(n), zeros, sum, sum_abs, sum_sq, sum_4, m2, m3, m4, static_cast<double>(top)};
}

bool has_variance(double m2, double sum_sq) {
  return m2 > kNoVariance * sum_sq;
}

}  // namespace

Moments moments(std::span<const float> x) {
  Moments all;
  for (size_t i = 0; i < x.size(); i += kBlock)
    all = merge(all, block_moments(x.data() + i, std::min(kBlock, x.size() - i)));
  return all;
}

Moments merge(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const auto na = static_cast<double>(a.count), nb = static_cast<double>(b.count), n = na + nb;
  const double d = b.sum / nb - a.sum / na;
  const double d2 = d * d;
  Moments m;
  m.count = a.count + b.count;
  m.zeros = a.zeros + b.zeros;
  m.sum = a.sum + b.sum;
  m.sum_abs = a.sum_abs + b.sum_abs;
  m.sum_sq = a.sum_sq + b.sum_sq;
  m.sum_4 = a.sum_4 + b.sum_4;
  m.abs_max = std::max(a.abs_max, b.abs_max);
  m.m2 = a.m2 + b.m2 + d2 * na * nb / n;
  m.m3 = a.m3 + b.m3 + d2 * d * na * nb * (na - nb) / (n * n) + 3 * d * (na * b.m2 - nb * a.m2) / n;
  m.m4 = a.m4 + b.m4 + d2 * d2 * na * nb * (na * na - na * nb + nb * nb) / (n * n * n) +
         6 * d2 * (na * na * b.m2 + nb * nb * a.m2) / (n * n) + 4 * d * (na * b.m3 - nb * a.m3) / n;
  return m;
}

double mean(const Moments& m) {
  return m.sum / static_cast<double>(m.count);
}
double mean_abs(const Moments& m) {
  return m.sum_abs / static_cast<double>(m.count);
}
double rms(const Moments& m) {
  return std::sqrt(m.sum_sq / static_cast<double>(m.count));
}
double std_population(const Moments& m) {
  return std::sqrt(m.m2 / static_cast<double>(m.count));
}

double std_sample(const Moments& m) {
  return m.count < 2 ? kNone : std::sqrt(m.m2 / static_cast<double>(m.count - 1));
}

double hoyer(const Moments& m) {
  if (m.sum_sq == 0) return 1;
  if (m.count == 1) return 0;
  const double root = std::sqrt(static_cast<double>(m.count));
  return std::clamp((root - m.sum_abs / std::sqrt(m.sum_sq)) / (root - 1), 0.0, 1.0);
}

double participation_ratio(const Moments& m) {
  return m.sum_sq == 0 ? 0 : m.sum_sq / static_cast<double>(m.count) * (m.sum_sq / m.sum_4);
}

double excess_kurtosis(const Moments& m) {
  return has_variance(m.m2, m.sum_sq) ? static_cast<double>(m.count) * m.m4 / (m.m2 * m.m2) - 3 : kNone;
}

float least_float_from(double threshold) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (threshold > static_cast<double>(std::numeric_limits<float>::max())) return infinity;
  const auto nearest = static_cast<float>(threshold);
  return static_cast<double>(nearest) < threshold ? std::nextafter(nearest, infinity) : nearest;
}

int64_t count_below(std::span<const float> x, double threshold) {
  const float limit = least_float_from(threshold);
  int64_t count = 0;
  for (size_t begin = 0; begin < x.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, x.size() - begin);
    const float* block = x.data() + begin;
    int32_t below = 0;
#pragma omp simd reduction(+ : below)
    for (size_t i = 0; i < n; ++i) below += std::fabs(block[i]) < limit ? 1 : 0;
    count += below;
  }
  return count;
}

RowSums row_sums(std::span<const float> x, float limit) {
  double sum_sq = 0, sum_abs = 0;
  int32_t below = 0;
  const float* data = x.data();
  const size_t n = x.size();
#pragma omp simd reduction(+ : sum_sq, sum_abs, below)
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(data[i]);
    const double value = magnitude;
    sum_sq += value * value;
    sum_abs += value;
    below += magnitude < limit ? 1 : 0;
  }
  return {sum_sq, sum_abs, below};
}

double largest_magnitude(std::span<const float> x) {
  // The bits of magnitudes order like the magnitudes, with infinity and NaN on top: one integer maximum finds
  // both.
  int32_t top = 0;
  const float* data = x.data();
  const size_t n = x.size();
#pragma omp simd reduction(max : top)
  for (size_t i = 0; i < n; ++i) top = std::max(top, std::bit_cast<int32_t>(data[i]) & kMagnitudeBits);
  return top >= kInfinityBits ? std::numeric_limits<double>::infinity()
                              : static_cast<double>(std::bit_cast<float>(top));
}

LeastMagnitude least_magnitude(std::span<const float> x) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  float any = infinity, nonzero = infinity;
  const float* data = x.data();
  const size_t n = x.size();
#pragma omp simd reduction(min : any, nonzero)
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(data[i]);
    any = std::min(any, magnitude);
    nonzero = std::min(nonzero, magnitude == 0 ? infinity : magnitude);
  }
  return {static_cast<double>(any), static_cast<double>(nonzero)};
}

CrossMoments cross_moments(std::span<const float> a, std::span<const float> b) {
  require(a.size() == b.size(), "[cross_moments] got ", a.size(), " and ", b.size(),
          " elements; expected as many");
  CrossMoments all;
  for (size_t begin = 0; begin < a.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, a.size() - begin);
    const float *pa = a.data() + begin, *pb = b.data() + begin;
    double sum_a = 0, sum_b = 0;
#pragma omp simd reduction(+ : sum_a, sum_b)
    for (size_t i = 0; i < n; ++i) {
      sum_a += static_cast<double>(pa[i]);
      sum_b += static_cast<double>(pb[i]);
    }
    const double mean_a = sum_a / static_cast<double>(n), mean_b = sum_b / static_cast<double>(n);
    double m2_a = 0, m2_b = 0, m_ab = 0;
#pragma omp simd reduction(+ : m2_a, m2_b, m_ab)
    for (size_t i = 0; i < n; ++i) {
      const double da = static_cast<double>(pa[i]) - mean_a, db = static_cast<double>(pb[i]) - mean_b;
      m2_a += da * da;
      m2_b += db * db;
      m_ab += da * db;
    }
    all = merge(all, {static_cast<int64_t>(n), sum_a, sum_b, m2_a, m2_b, m_ab});
  }
  return all;
}

CrossMoments merge(const CrossMoments& a, const CrossMoments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const auto na = static_cast<double>(a.count), nb = static_cast<double>(b.count);
  const double da = b.sum_a / nb - a.sum_a / na, db = b.sum_b / nb - a.sum_b / na,
               weight = na * nb / (na + nb);
  return {a.count + b.count,
          a.sum_a + b.sum_a,
          a.sum_b + b.sum_b,
          a.m2_a + b.m2_a + da * da * weight,
          a.m2_b + b.m2_b + db * db * weight,
          a.m_ab + b.m_ab + da * db * weight};
}

double legacy_correlation(const CrossMoments& m) {
  if (m.count < 2) return kNone;
  const auto n = static_cast<double>(m.count);
  return m.m_ab / n / (std::sqrt(m.m2_a / (n - 1)) * std::sqrt(m.m2_b / (n - 1)) + 1e-8);
}

}  // namespace kvviz::stats
