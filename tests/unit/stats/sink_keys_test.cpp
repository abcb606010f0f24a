// SPDX-License-Identifier: MIT
#include "kvviz/stats/sink_keys.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

using namespace kvviz::stats;

namespace {

/// H_n - H_m.
double harmonic(int64_t m, int64_t n) {
  double sum = 0;
  for (int64_t i = n; i > m; --i) sum += 1 / static_cast<double>(i);
  return sum;
}

/// later_mass of uniform attention: key j gets 1 / (i + 1) from each query i > j that sees it.
std::vector<double> uniform_later(int64_t tokens, int64_t window) {
  std::vector<double> mass(static_cast<size_t>(tokens));
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t from = window > 0 ? std::max<int64_t>(0, i - window + 1) : 0;
    for (int64_t j = from; j < i; ++j) mass[static_cast<size_t>(j)] += 1 / static_cast<double>(i - from + 1);
  }
  return mass;
}

std::vector<int64_t> up_to(int64_t end) {
  std::vector<int64_t> keys(static_cast<size_t>(end));
  std::iota(keys.begin(), keys.end(), int64_t{0});
  return keys;
}

}  // namespace

TEST_CASE("[sink_keys] uniform mass: harmonic numbers without a window, 1 / window beyond one") {
  const UniformMass full(100, 0);
  CHECK(full.of(0, 64) / 64 == doctest::Approx(0.0741233).epsilon(1e-6));
  CHECK(full.of(10, 100) == doctest::Approx(harmonic(10, 100)).epsilon(1e-12));
  CHECK(full.of(5, 5) == 0);
  const UniformMass local(100, 8);
  CHECK(local.of(0, 8) == doctest::Approx(harmonic(0, 8)).epsilon(1e-12));
  CHECK(local.of(20, 28) == doctest::Approx(1).epsilon(1e-12));
  CHECK(local.of(4, 12) == doctest::Approx(harmonic(4, 8) + 0.5).epsilon(1e-12));
}

TEST_CASE("[sink_keys] uniform attention has no sink key, at any length, with and without a window") {
  for (const int64_t tokens : {1, 2, 10, 300})
    for (const int64_t window : {0, 8, 100}) {
      CAPTURE(tokens);
      CAPTURE(window);
      const auto mass = uniform_later(tokens, window);
      CHECK(sink_keys(mass, window, {.ratio = 1 + 1e-9, .mass = 1e-6}).empty());
      // Just below uniform every key that is seen for long enough is one: the rule's two sides meet here.
      if (tokens >= 10) CHECK_FALSE(sink_keys(mass, window, {.ratio = 1 - 1e-9, .mass = 1e-6}).empty());
    }
}

TEST_CASE("[sink_keys] all attention on key 0: only that key") {
  const int64_t tokens = 200;
  std::vector<double> mass(tokens, 0.0);
  mass[0] = tokens - 1;
  CHECK(sink_keys(mass, 0, {}) == std::vector<int64_t>{0});
  CHECK(sink_keys({}, 0, {}).empty());
}

TEST_CASE("[sink_keys] a later key counts as the first one does: by the queries that see it") {
  const int64_t tokens = 1000, key = 900;  // 99 later queries
  std::vector<double> mass(tokens, 0.0);
  mass[key] = 0.05 * 99 + 1e-9;
  CHECK(sink_keys(mass, 0, {}) == std::vector<int64_t>{key});
  mass[key] = 0.05 * 99 - 1e-9;  // the mean mass decides; one at the limit counts
  CHECK(sink_keys(mass, 0, {}).empty());
  const double uniform = harmonic(key + 1, tokens);
  const SinkKeyRule by_ratio{.ratio = 20, .mass = 1e-3};
  mass[key] = 20 * uniform + 1e-9;
  CHECK(sink_keys(mass, 0, by_ratio) == std::vector<int64_t>{key});
  mass[key] = 20 * uniform - 1e-9;
  CHECK(sink_keys(mass, 0, by_ratio).empty());
}

TEST_CASE("[sink_keys] how many later queries must see a key: 64, half the text, or the window") {
  // Every key gets all of every later query: only how long it is seen can leave one out.
  const auto found = [](int64_t tokens, int64_t window) {
    std::vector<double> mass(static_cast<size_t>(tokens), static_cast<double>(tokens));
    return sink_keys(mass, window, {.ratio = 1e-6, .mass = 1e-6});
  };
  CHECK(found(200, 0) == up_to(200 - 64));
  CHECK(found(100, 0) == up_to(50));
  CHECK(found(200, 9) == up_to(200 - 8));     // a key is seen by the 8 queries behind it
  CHECK(found(200, 150) == up_to(200 - 64));  // a long window does not lower the limit
  CHECK(found(2, 0) == up_to(1));
  CHECK(found(1, 0).empty());
  CHECK(found(3, 1).empty());  // a window of one token: no later query sees any key
}

TEST_CASE("[sink_keys] a window limits what uniform attention would give") {
  const int64_t tokens = 400, window = 50, key = 200;
  std::vector<double> mass(tokens, 0.0);
  const double uniform = 49.0 / 50;  // 49 later queries, each over 50 keys
  const SinkKeyRule rule{.ratio = 10, .mass = 0.05};
  mass[key] = 10 * uniform + 1e-9;
  CHECK(sink_keys(mass, window, rule) == std::vector<int64_t>{key});
  mass[key] = 10 * uniform - 1e-9;
  CHECK(sink_keys(mass, window, rule).empty());
}
