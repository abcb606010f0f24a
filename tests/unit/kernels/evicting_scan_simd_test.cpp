// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_simd.hpp"

#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kvviz/kernels/evicting_scan_slots.hpp"

namespace kvviz::kernels {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Calls body(kernels) for every instruction set of this CPU.
template <class Body>
void on_every_target(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    body(evicting_scan_simd());
  }
  hwy::SetSupportedTargetsForTest(0);
}

template <class T>
AlignedArray<T> aligned(const std::vector<T>& values, T padding) {
  AlignedArray<T> array(padding);
  array.reserve(std::max<int64_t>(std::ssize(values), 1));
  std::copy(values.begin(), values.end(), array.data());
  return array;
}

TEST_CASE("[evicting_scan_simd] lowest: every size and place, ties by position, bounds, NaN and infinity") {
  std::mt19937 random(1);
  on_every_target([&](const EvictingScanSimd& simd) {
    for (int64_t columns = 0; columns <= 70; ++columns) {
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<double> scores, positions;
        for (int64_t c = 0; c < columns; ++c) {
          const auto kind = random() % 16;
          scores.push_back(static_cast<double>(random() % 4) - 2);
          if (kind == 0) scores.back() = std::numeric_limits<double>::quiet_NaN();
          if (kind == 1) scores.back() = infinity;
          if (kind == 2) scores.back() = -infinity;
          if (trial % 4 == 3) scores.back() = kind < 8 ? infinity : std::numeric_limits<double>::quiet_NaN();
          positions.push_back(static_cast<double>(c));
        }
        std::shuffle(positions.begin(), positions.end(), random);
        for (double& position : positions) {
          if (random() % 5 == 0) position = infinity;  // an empty column
        }
        const auto begin = static_cast<double>(random() % 10),
                   end = begin + static_cast<double>(random() % 80);
        int64_t want = -1;
        const auto value = [&](int64_t c) {
          const double score = scores[static_cast<size_t>(c)];
          return std::isnan(score) ? infinity : score;
        };
        for (int64_t c = 0; c < columns; ++c) {
          const double position = positions[static_cast<size_t>(c)];
          if (position < begin || position >= end) continue;
          if (want < 0 || value(c) < value(want) ||
              (value(c) == value(want) && position < positions[static_cast<size_t>(want)])) {
            want = c;
          }
        }
        const auto all_scores = aligned(scores, -1e9), all_positions = aligned(positions, infinity);
        REQUIRE(simd.lowest(all_scores.data(), all_positions.data(), columns, begin, end) == want);
      }
    }
  });
}

TEST_CASE("[evicting_scan_simd] aggregate: mean, maximum and sum over one and many heads") {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform;
  on_every_target([&](const EvictingScanSimd& simd) {
    for (const int64_t heads : {1, 2, 7}) {
      for (const int64_t columns : {1, 15, 16, 17, 50}) {
        const int64_t stride = 80;
        AlignedArray<float> rows, out(-1.0F);
        rows.reserve(heads * stride);
        out.reserve(columns);
        std::vector<float> inverse;
        for (int64_t h = 0; h < heads; ++h) {
          inverse.push_back(0.5F + uniform(random));
          for (int64_t c = 0; c < columns; ++c) rows.data()[h * stride + c] = uniform(random);
        }
        for (const Aggregate how : {Aggregate::mean, Aggregate::max}) {
          simd.aggregate({rows.data(), stride, inverse.data(), heads}, columns, how, out.data());
          for (int64_t c = 0; c < columns; ++c) {
            double sum = 0, most = 0;
            for (int64_t h = 0; h < heads; ++h) {
              const double weight = static_cast<double>(rows.data()[h * stride + c]) *
                                    static_cast<double>(inverse[static_cast<size_t>(h)]);
              sum += weight;
              most = std::max(most, weight);
            }
            const double want = how == Aggregate::max ? most : sum / static_cast<double>(heads);
            REQUIRE(static_cast<double>(out.data()[c]) == doctest::Approx(want).epsilon(1e-6));
          }
        }
      }
    }
  });
}

TEST_CASE("[evicting_scan_simd] add: sums in f64") {
  on_every_target([&](const EvictingScanSimd& simd) {
    for (const int64_t columns : {1, 7, 8, 9, 33}) {
      AlignedArray<float> weights;
      AlignedArray<double> scores(1.0);
      weights.reserve(columns);
      scores.reserve(columns);
      for (int64_t c = 0; c < columns; ++c)
        weights.data()[c] = std::ldexp(1.0F, -30 - static_cast<int>(c % 8));
      simd.add(weights.data(), columns, scores.data());
      for (int64_t c = 0; c < columns; ++c)
        REQUIRE(scores.data()[c] == 1 + std::ldexp(1.0, -30 - static_cast<int>(c % 8)));
      CHECK(scores.data()[columns] == 1);
    }
  });
}

TEST_CASE("[evicting_scan_simd] held: mass, demands and hits of every size") {
  std::mt19937 random(3);
  on_every_target([&](const EvictingScanSimd& simd) {
    for (int64_t keys = 1; keys <= 70; ++keys) {
      std::vector<float> weights;
      std::vector<int32_t> columns;
      HeldWeights want;
      for (int64_t key = 0; key < keys; ++key) {
        weights.push_back(std::ldexp(1.0F, -static_cast<int>(random() % 10)));
        columns.push_back(random() % 2 == 0 ? -1 : static_cast<int32_t>(random() % 3));
        if (columns.back() >= 0) want.mass += static_cast<double>(weights.back());
        want.demands += weights.back() >= 0.125F;
        want.hits += weights.back() >= 0.125F && columns.back() >= 0;
      }
      const auto all_weights = aligned(weights, 0.0F);
      const auto all_columns = aligned(columns, -1);
      const HeldWeights got = simd.held({all_weights.data(), all_columns.data(), keys, 0.125F});
      REQUIRE(got.mass == want.mass);
      REQUIRE(got.demands == want.demands);
      REQUIRE(got.hits == want.hits);
    }
  });
}

TEST_CASE("[evicting_scan_simd] largest_sum equals the sum of the sorted values, ties and zeros among them") {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  on_every_target([&](const EvictingScanSimd& simd) {
    for (const int64_t size : {1, 2, 15, 16, 17, 40, 333}) {
      for (const float spread : {0.0F, 0.01F, 2.0F, 30.0F}) {
        for (const int kind : {0, 1, 2}) {
          std::vector<float> values;
          for (int64_t i = 0; i < size; ++i) {
            values.push_back(std::exp(-std::abs(spread * normal(random))));
            if (kind == 1 && random() % 3 == 0) values.back() = 0;
            if (kind == 2) values.back() = std::ldexp(1.0F, -static_cast<int>(random() % 5));
          }
          const auto all = aligned(values, 0.0F);
          std::sort(values.begin(), values.end(), std::greater<>());
          double want = 0;
          int64_t wrong = 0;
          for (int64_t count = 0; count <= size + 2; ++count) {
            wrong += !(std::abs(simd.largest_sum(all.data(), size, count) - want) <= 1e-13 * want);
            if (count < size) want += static_cast<double>(values[static_cast<size_t>(count)]);
          }
          REQUIRE(wrong == 0);
        }
      }
    }
  });
}

TEST_CASE("[evicting_scan_simd] largest_sum ends on NaN and on the smallest floats") {
  on_every_target([&](const EvictingScanSimd& simd) {
    const auto with_nan = aligned({1.0F, std::numeric_limits<float>::quiet_NaN(), 0.5F}, 0.0F);
    CHECK(simd.largest_sum(with_nan.data(), 3, 1) == 1);
    const auto small = aligned({1e-38F, 2e-38F, 3e-38F, 3e-38F}, 0.0F);
    CHECK(simd.largest_sum(small.data(), 4, 3) == doctest::Approx(8e-38).epsilon(1e-6));
  });
}

}  // namespace
}  // namespace kvviz::kernels
