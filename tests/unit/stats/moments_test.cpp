// SPDX-License-Identifier: MIT
#include "kvviz/stats/moments.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "support/close.hpp"

using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

std::vector<float> gaussian(size_t n, float mean, float std, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, std);
  std::vector<float> x(n);
  for (float& value : x) value = normal(random);
  return x;
}

/// Two plain loops in long double.
struct Naive {
  explicit Naive(const std::vector<float>& x) {
    long double sum = 0;
    for (const float value : x) sum += value;
    const long double mean = sum / static_cast<long double>(x.size());
    for (const float value : x) {
      const long double v = value, d = v - mean;
      sum_abs += std::fabs(v);
      sum_sq += v * v;
      sum_4 += v * v * v * v;
      m2 += d * d;
      m3 += d * d * d;
      m4 += d * d * d * d;
    }
    total = sum;
  }
  long double total = 0, sum_abs = 0, sum_sq = 0, sum_4 = 0, m2 = 0, m3 = 0, m4 = 0;
};

void check_against_naive(const Moments& got, const std::vector<float>& x, double rel) {
  const Naive want(x);
  const Tol tol{.rel = rel};
  CHECK(got.count == std::ssize(x));
  check_close(got.sum, static_cast<double>(want.total), tol);
  check_close(got.sum_abs, static_cast<double>(want.sum_abs), tol);
  check_close(got.sum_sq, static_cast<double>(want.sum_sq), tol);
  check_close(got.sum_4, static_cast<double>(want.sum_4), tol);
  check_close(got.m2, static_cast<double>(want.m2), tol);
  check_close(got.m4, static_cast<double>(want.m4), tol);
}

}  // namespace

TEST_CASE("[moments] small integers") {
  const std::vector<float> x{1, -1, 3, 0, -3};
  const Moments m = moments(x);
  CHECK(m.count == 5);
  CHECK(m.zeros == 1);
  CHECK(m.sum == 0);
  CHECK(m.sum_abs == 8);
  CHECK(m.sum_sq == 20);
  CHECK(m.sum_4 == 164);
  CHECK(m.m2 == 20);
  CHECK(m.m3 == 0);
  CHECK(m.m4 == 164);
  CHECK(m.abs_max == 3);
  CHECK(mean(m) == 0);
  CHECK(mean_abs(m) == 1.6);
  CHECK(rms(m) == 2);
  CHECK(std_population(m) == 2);
  CHECK(std_sample(m) == std::sqrt(5.0));
  CHECK(participation_ratio(m) == doctest::Approx(400.0 / (5 * 164)));
  CHECK(excess_kurtosis(m) == doctest::Approx(5 * 164 / 400.0 - 3));
}

TEST_CASE("[moments] many blocks and a large mean agree with plain loops") {
  // 10,001 elements: two whole blocks and a rest. fp64 sums of 10^4 terms keep 12 digits; with a mean 1,000
  // times the spread a sum of raw powers would keep 4 of them, central sums keep 10.
  check_against_naive(moments(gaussian(10'001, 0.5F, 2, 1)), gaussian(10'001, 0.5F, 2, 1), 1e-12);
  check_against_naive(moments(gaussian(10'001, 1000, 1, 2)), gaussian(10'001, 1000, 1, 2), 1e-10);
}

TEST_CASE("[moments] parts merge to the whole") {
  const std::vector<float> x = gaussian(1000, 3, 1, 3);
  const std::span<const float> all(x);
  const Moments parts =
      merge(merge(moments(all.first(1)), moments(all.subspan(1, 300))), moments(all.subspan(301)));
  const Moments whole = moments(all);
  const Tol tol{.rel = 1e-12};
  check_close(parts.m2, whole.m2, tol);
  check_close(parts.m3, whole.m3, Tol{.rel = 1e-9});  // a difference of sums thirty times larger
  check_close(parts.m4, whole.m4, tol);
  check_close(parts.sum_4, whole.sum_4, tol);
  CHECK(parts.count == whole.count);
  CHECK(merge(Moments{}, whole).m4 == whole.m4);
  CHECK(merge(whole, Moments{}).m4 == whole.m4);
}

TEST_CASE("[moments] Hoyer: one element, equal elements, nothing") {
  CHECK(hoyer(moments(std::vector<float>{0, 0, -7, 0})) == 1);
  CHECK(hoyer(moments(std::vector<float>{2, -2, 2, -2})) == 0);
  CHECK(hoyer(moments(std::vector<float>(9, 0.0F))) == 1);
  CHECK(hoyer(moments(std::vector<float>{5})) == 0);
  CHECK(hoyer(moments(std::vector<float>{3, 4, 0, 0})) == doctest::Approx((2 - 7.0 / 5) / (2 - 1)));
}

TEST_CASE("[moments] participation ratio counts the carriers of the energy") {
  CHECK(participation_ratio(moments(std::vector<float>{3, 0, -3, 0})) == 0.5);
  CHECK(participation_ratio(moments(std::vector<float>{0, 0, 0, 9})) == 0.25);
  CHECK(participation_ratio(moments(std::vector<float>(4, 0.0F))) == 0);
  // Relative standard error of sum x^4 of n Gaussian elements: sqrt(96 / 9 / n) = 1.5 % at 50,000; four of
  // them.
  check_close(participation_ratio(moments(gaussian(50'000, 0, 1, 4))), 1.0 / 3, Tol{.rel = 0.06});
}

TEST_CASE("[moments] kurtosis of known shapes, none without variance") {
  CHECK(excess_kurtosis(moments(std::vector<float>{1, -1, 1, -1})) == -2);
  CHECK(std::isnan(excess_kurtosis(moments(std::vector<float>(10'000, 0.1F)))));
  CHECK(std::isnan(excess_kurtosis(moments(std::vector<float>{0, 0}))));
  // Standard error sqrt(24 / n) = 0.022 at 50,000; four of them.
  check_close(excess_kurtosis(moments(gaussian(50'000, 0, 3, 5))), 0, Tol{.abs = 0.09});
  CHECK(std::isnan(std_sample(moments(std::vector<float>{5}))));
}

TEST_CASE("[moments] below is strict, and exact for thresholds that are no float") {
  CHECK(count_below(std::vector<float>{0.25F, -0.25F, 0.2F, -0.1F, 0}, 0.25) == 3);
  CHECK(count_below(std::vector<float>{0, 0}, 0) == 0);
  const float tenth = 0.1F;  // 0.100000001...: above 0.1
  CHECK(count_below(std::vector<float>{tenth, std::nextafter(tenth, 0.0F)}, 0.1) == 1);
  CHECK(count_below(std::vector<float>{1e38F}, 1e300) == 1);
  std::vector<float> many(9000, 1.0F);
  many[8999] = 0.5F;
  CHECK(count_below(many, 1) == 1);
}

TEST_CASE("[moments] extremes of magnitude") {
  CHECK(largest_magnitude(std::vector<float>{1, -4, 2}) == 4);
  CHECK(largest_magnitude(std::vector<float>{-0.0F}) == 0);
  CHECK(std::isinf(largest_magnitude(std::vector<float>{1, NAN, 2})));
  CHECK(std::isinf(largest_magnitude(std::vector<float>{1, -NAN})));
  CHECK(std::isinf(largest_magnitude(std::vector<float>{1, -INFINITY})));
  const LeastMagnitude least = least_magnitude(std::vector<float>{-3, 0, 0.5F});
  CHECK(least.any == 0);
  CHECK(least.nonzero == 0.5);
  CHECK(std::isinf(least_magnitude(std::vector<float>{0}).nonzero));
}

TEST_CASE("[moments] rows") {
  const RowSums sums = row_sums(std::vector<float>{3, -4, 0.5F}, 0.75F);
  CHECK(sums.sum_sq == 25.25);
  CHECK(sums.sum_abs == 7.5);
  CHECK(sums.below == 1);
}

TEST_CASE("[moments] legacy correlation: n and n - 1 as in the original") {
  const std::vector<float> a{1, 2, 3, 4}, b{2, 4, 6, 8}, c{4, 3, 2, 1};
  check_close(legacy_correlation(cross_moments(a, b)), 0.75, Tol{.abs = 1e-7});  // (n-1)/n, less the 1e-8
  check_close(legacy_correlation(cross_moments(a, c)), -0.75, Tol{.abs = 1e-7});
  CHECK(std::isnan(legacy_correlation(cross_moments(std::vector<float>{1}, std::vector<float>{1}))));
  const std::vector<float> x = gaussian(10'000, 5, 1, 6);
  std::vector<float> y = gaussian(10'000, -5, 1, 7);
  for (size_t i = 0; i < x.size(); ++i) y[i] += x[i];
  long double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) mx += x[i], my += y[i];
  mx /= 10'000, my /= 10'000;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  const auto want = static_cast<double>(xy / 10'000 / (std::sqrt(xx / 9999) * std::sqrt(yy / 9999) + 1e-8L));
  check_close(legacy_correlation(cross_moments(x, y)), want, Tol{.rel = 1e-11});
}
