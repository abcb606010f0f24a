// SPDX-License-Identifier: MIT
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "kvviz/model/rope.hpp"
#include "support/fixture.hpp"

using namespace kvviz;

TEST_CASE("[rope] position 0 changes nothing, and a turn keeps every pair's norm") {
  const RopeConfig rope{.rotary_dim = 8};
  const at::Tensor x = at::randn({1, 2, 5, 8});
  const at::Tensor y = rotate(x, rope_table(rope, 0, 5), rope);
  CHECK(y.select(2, 0).equal(x.select(2, 0)));
  const auto energy = [](const at::Tensor& t) {
    return t.narrow(-1, 0, 4).square().add(t.narrow(-1, 4, 4).square());
  };
  test::check_near(energy(y), energy(x), 1e-6);
}

TEST_CASE("[rope] q.k depends on the distance alone") {
  for (const RopePairing pairing : {RopePairing::half, RopePairing::interleaved}) {
    const RopeConfig rope{.rotary_dim = 16, .pairing = pairing};
    const at::Tensor q = at::randn({1, 1, 1, 16}), k = at::randn({1, 1, 1, 16});
    const auto dot = [&](int64_t i, int64_t j) {
      return rotate(q, rope_table(rope, i, 1), rope)
          .mul(rotate(k, rope_table(rope, j, 1), rope))
          .sum()
          .item<float>();
    };
    CHECK(dot(9, 4) == doctest::Approx(dot(105, 100)).epsilon(1e-4));
    CHECK(dot(9, 4) != doctest::Approx(dot(9, 5)).epsilon(1e-4));
  }
}

TEST_CASE("[rope] channels beyond rotary_dim pass unchanged; interleaved turns neighbours") {
  const RopeConfig rope{.theta = 100, .rotary_dim = 4, .pairing = RopePairing::interleaved};
  const at::Tensor x = at::arange(6, at::kFloat).view({1, 1, 1, 6});
  const at::Tensor y = rotate(x, rope_table(rope, 3, 1), rope).flatten();
  const double a = 3.0, b = 0.3;  // position 3 at frequencies 1 and 100^(-1/2)
  const double want[] = {
      -std::sin(a), std::cos(a), 2 * std::cos(b) - 3 * std::sin(b), 3 * std::cos(b) + 2 * std::sin(b), 4, 5};
  for (int64_t i = 0; i < 6; ++i) CHECK(y[i].item<float>() == doctest::Approx(want[i]).epsilon(1e-6));
}

TEST_CASE("[rope] llama3 scaling keeps fast frequencies, divides slow ones and blends between") {
  RopeConfig rope{.theta = 10000,
                  .rotary_dim = 64,
                  .scaling = RopeScaling::llama3,
                  .factor = 8,
                  .low_freq_factor = 1,
                  .high_freq_factor = 4,
                  .original_context = 128};
  const at::Tensor angle = rope_table(rope, 1, 1).sin.asin().flatten();  // angles below pi/2 at position 1
  for (int64_t pair = 0; pair < 32; ++pair) {
    const double plain = std::pow(10000.0, -2.0 * static_cast<double>(pair) / 64);
    const double wavelength = 2 * std::numbers::pi / plain;
    const double got = angle[pair].item<float>();
    if (wavelength < 128.0 / 4)
      CHECK(got == doctest::Approx(plain).epsilon(1e-5));
    else if (wavelength > 128.0 / 1)
      CHECK(got == doctest::Approx(plain / 8).epsilon(1e-5));
    else {
      const double kept = (128.0 / wavelength - 1) / (4 - 1);
      CHECK(got == doctest::Approx(kept * plain + (1 - kept) * plain / 8).epsilon(1e-5));
    }
  }
}

TEST_CASE(
    "[rope] dynamic: theta grows with the text beyond the original context, all pairs but the first slow") {
  const RopeConfig rope{
      .theta = 10000, .rotary_dim = 8, .scaling = RopeScaling::dynamic, .factor = 2, .original_context = 100};
  const auto plain = rope_frequencies({.theta = 10000, .rotary_dim = 8}, 1);
  CHECK(rope_frequencies(rope, 1) == plain);
  CHECK(rope_frequencies(rope, 100) == plain);
  // 300 tokens: theta (2 * 3 - 1)^(8 / 6), so that pair f is slower by 5^(-f / 3), the last by the 5 itself.
  const auto longer = rope_frequencies(rope, 300);
  for (size_t f = 0; f < 4; ++f)
    CHECK(longer[f] == doctest::Approx(plain[f] * std::pow(5.0, -static_cast<double>(f) / 3)).epsilon(1e-12));
}

TEST_CASE("[rope] yarn: a ramp over the pairs from plain to divided, at whole pairs or not") {
  // Pair f turns 2^(16 - f) / (2 pi) times in 2^16 tokens: 2^12 / (2 pi) times pair 4, 2^8 / (2 pi) pair 8.
  RopeConfig rope{.theta = std::exp2(16),
                  .rotary_dim = 32,
                  .scaling = RopeScaling::yarn,
                  .factor = 4,
                  .beta_fast = std::exp2(11.5) / (2 * std::numbers::pi),
                  .beta_slow = std::exp2(8.5) / (2 * std::numbers::pi),
                  .original_context = std::exp2(16)};
  const auto check = [&](double first, double last) {
    const auto got = rope_frequencies(rope, 0);
    for (size_t f = 0; f < 16; ++f) {
      const auto pair = static_cast<double>(f);
      const double divided = pair <= first ? 0 : pair >= last ? 1 : (pair - first) / (last - first);
      CAPTURE(f);
      CHECK(got[f] == doctest::Approx(std::exp2(-pair) * (1 - divided * 3 / 4)).epsilon(1e-9));
    }
  };
  check(4, 8);
  rope.whole_pairs = false;
  check(4.5, 7.5);
}

TEST_CASE("[rope] longrope: each pair has its divisor, another one beyond the original context") {
  const RopeConfig rope{.theta = 10000,
                        .rotary_dim = 4,
                        .scaling = RopeScaling::longrope,
                        .original_context = 100,
                        .attention_factor = 1.25,
                        .short_factors = {1, 2},
                        .long_factors = {4, 8}};
  CHECK(rope_frequencies(rope, 100) == std::vector<double>{1, 0.01 / 2});
  CHECK(rope_frequencies(rope, 101) == std::vector<double>{1.0 / 4, 0.01 / 8});
  const RopeTable table = rope_table(rope, 3, 1);
  CHECK(table.cos[0][1].item<float>() == doctest::Approx(1.25 * std::cos(3 * 0.01 / 2)).epsilon(1e-6));
  CHECK(table.sin[0][0].item<float>() == doctest::Approx(1.25 * std::sin(3.0)).epsilon(1e-6));
}
