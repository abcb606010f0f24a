// SPDX-License-Identifier: MIT
#include "kvviz/stats/chance.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "kvviz/stats/correlations.hpp"

using namespace kvviz::stats;

namespace {

struct Best {
  double mean = 0, max = 0;
};

/// |r| of all pairs of independent channels.
Best independent(int64_t samples, int64_t channels, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(samples * channels);
  for (float& value : x) value = normal(random);
  const auto r = correlations({x.data(), samples, channels});
  Best best;
  const double pairs = 0.5 * static_cast<double>(channels * (channels - 1));
  for (int64_t i = 0; i < channels; ++i)
    for (int64_t j = i + 1; j < channels; ++j) {
      best.mean += std::abs(r[i * channels + j]) / pairs;
      best.max = std::max(best.max, std::abs(r[i * channels + j]));
    }
  return best;
}

}  // namespace

TEST_CASE("[chance] the best of many independent pairs stays below the level in 99 of 100 data sets") {
  for (const int64_t samples : {3, 4, 6, 20, 200}) {
    CAPTURE(samples);
    const double level = chance_correlation(0.5 * 24 * 23, static_cast<double>(samples));
    int above = 0;
    double nearest = 0;
    for (unsigned seed = 0; seed < 200; ++seed) {
      const double best = independent(samples, 24, seed).max;
      above += best > level ? 1 : 0;
      nearest = std::max(nearest, best);
    }
    CHECK(above <= 6);              // 200 x 0.01, and three deviations
    CHECK(nearest > 0.75 * level);  // a level of no use is not better
  }
  CHECK(chance_correlation(1, 2) > 1);
  CHECK(chance_correlation(100, 500) < chance_correlation(1000, 500));
  CHECK(chance_correlation(100, 500) > chance_correlation(100, 1000));
  // p = 0.01: sqrt(1 - 0.01) for 4 samples.
  CHECK(chance_correlation(1, 4) == doctest::Approx(std::sqrt(0.99)));
}

TEST_CASE("[chance] mean |r|") {
  CHECK(mean_abs_correlation(2) == doctest::Approx(1));
  CHECK(mean_abs_correlation(3) == doctest::Approx(2 / std::numbers::pi));
  CHECK(mean_abs_correlation(4) == doctest::Approx(0.5));
  CHECK(std::isnan(mean_abs_correlation(1)));
  double sum = 0;
  for (unsigned seed = 0; seed < 20; ++seed) sum += independent(30, 40, seed).mean / 20;
  CHECK(mean_abs_correlation(30) == doctest::Approx(sum).epsilon(0.02));
}

TEST_CASE("[chance] deviations: x = ln(100 pairs)") {
  CHECK(chance_deviations(1) ==
        doctest::Approx(std::sqrt(2 * std::log(100.0)) + std::sqrt(2.0) * std::log(100.0)));
  CHECK(chance_deviations(10) > chance_deviations(1));
}
