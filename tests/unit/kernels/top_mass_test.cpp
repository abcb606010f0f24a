// SPDX-License-Identifier: MIT
#include "kvviz/kernels/top_mass.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace kvviz::kernels {
namespace {

std::vector<double> sorted_sums(std::vector<float> weights) {
  std::sort(weights.begin(), weights.end(), std::greater<>());
  std::vector<double> sums;
  for (size_t b = 0; b < TopMass::counts; ++b) {
    double sum = 0;
    for (size_t i = 0; i < std::min(size_t{1} << b, weights.size()); ++i)
      sum += static_cast<double>(weights[i]);
    sums.push_back(sum);
  }
  return sums;
}

void check_sums(TopMass& top_mass, const std::vector<float>& weights) {
  CAPTURE(weights.size());
  std::vector<double> got(TopMass::counts, 0.0);
  top_mass.add(weights, 1, got);
  const std::vector<double> want = sorted_sums(weights);
  // The order of the additions alone differs.
  for (size_t b = 0; b < TopMass::counts; ++b) CHECK(std::abs(got[b] - want[b]) <= 1e-13 * want[b]);
}

TEST_CASE("[top_mass] equals the sums of the sorted weights, one row after the other") {
  TopMass top_mass;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const int size : {1, 2, 3, 4, 5, 31, 32, 33, 1000, 40000}) {
    for (const float spread : {0.0F, 0.01F, 2.0F, 30.0F}) {
      std::vector<float> weights(static_cast<size_t>(size));
      for (float& weight : weights) weight = std::exp(-std::abs(spread * normal(random)));
      check_sums(top_mass, weights);
    }
  }
}

TEST_CASE("[top_mass] ties, zeros and the smallest floats") {
  TopMass top_mass;
  check_sums(top_mass, std::vector<float>(100, 1.0F));
  check_sums(top_mass, std::vector<float>(100, 0.0F));
  check_sums(top_mass, {1.0F, 0.0F, 1e-38F, 1e-45F, 0.5F, 0.5F, 0.5F, 1e-38F});
}

TEST_CASE("[top_mass] sums are added, scaled, and NaN for a NaN factor") {
  TopMass top_mass;
  std::vector<double> top(TopMass::counts, 10.0);
  top_mass.add(std::vector<float>{0.25F, 1.0F, 0.5F}, 2, top);
  CHECK(top[0] == 12.0);
  CHECK(top[1] == 13.0);
  CHECK(top[2] == 13.5);
  CHECK(top[15] == 13.5);
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  top_mass.add(std::vector<float>{1.0F, nan}, static_cast<double>(nan), top);
  CHECK(std::isnan(top[0]));
  CHECK(std::isnan(top[15]));
}

}  // namespace
}  // namespace kvviz::kernels
