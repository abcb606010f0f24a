// SPDX-License-Identifier: MIT
#include "kvviz/stats/jensen_shannon.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "kvviz/core/error.hpp"

using kvviz::stats::jensen_shannon_similarity;

TEST_CASE("[jensen_shannon] equal ones are at 1, disjoint ones at 0, scale does not count") {
  const std::vector<double> p{1, 1, 0, 0, /**/ 5, 5, 0, 0, /**/ 0, 0, 0.2, 0.6, /**/ 0, 0, 0, 0};
  const auto s = jensen_shannon_similarity(p, 4);
  CHECK(s[0 * 4 + 1] == 1);
  CHECK(s[0 * 4 + 2] == doctest::Approx(0));
  CHECK(s[2 * 4 + 2] == 1);
  CHECK(std::isnan(s[0 * 4 + 3]));
  CHECK(std::isnan(s[3 * 4 + 3]));
  CHECK(jensen_shannon_similarity({}, 0).empty());
  CHECK_THROWS_AS(jensen_shannon_similarity(std::vector<double>{1, 2, 3}, 2), kvviz::DataError);
}

TEST_CASE("[jensen_shannon] the root of the divergence to the mean, in bits; a metric") {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform;
  constexpr int64_t items = 6, cells = 10;
  std::vector<double> p(items * cells);
  for (double& value : p) value = uniform(random);
  for (int64_t i = 0; i < items; ++i) {
    double mass = 0;
    for (int64_t c = 0; c < cells; ++c) mass += p[i * cells + c];
    for (int64_t c = 0; c < cells; ++c) p[i * cells + c] /= mass;
  }
  const auto s = jensen_shannon_similarity(p, items);
  for (int64_t i = 0; i < items; ++i)
    for (int64_t j = 0; j < items; ++j) {
      double divergence = 0;
      for (int64_t c = 0; c < cells; ++c) {
        const double a = p[i * cells + c], b = p[j * cells + c], m = (a + b) / 2;
        divergence += 0.5 * (a * std::log2(a / m) + b * std::log2(b / m));
      }
      CHECK(s[i * items + j] == doctest::Approx(1 - std::sqrt(std::max(divergence, 0.0))).epsilon(1e-7));
      CHECK(s[i * items + j] == s[j * items + i]);
      for (int64_t k = 0; k < items; ++k)
        CHECK((1 - s[i * items + j]) <= (1 - s[i * items + k]) + (1 - s[k * items + j]) + 1e-12);
    }
}
