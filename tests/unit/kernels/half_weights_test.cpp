// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvviz/kernels/bf16_product.hpp"
#include "kvviz/kernels/gemm.hpp"
#include "kvviz/kernels/halves_simd.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "unit/kernels/guarded_floats.hpp"

namespace kvviz::kernels {
namespace {

// The value of 16 bits from the definition of the format: sign, exponent field, mantissa.
double value_of(uint16_t bits, WeightType type) {
  const int mantissa_bits = type == WeightType::bf16 ? 7 : 10, exponent_bits = 15 - mantissa_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1,
            field = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double mantissa = (bits & ((1 << mantissa_bits) - 1)) / std::ldexp(1, mantissa_bits);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (field == (1 << exponent_bits) - 1)
    return mantissa > 0 ? std::numeric_limits<double>::quiet_NaN()
                        : sign * std::numeric_limits<double>::infinity();
  return sign * (field > 0 ? std::ldexp(1 + mantissa, field - bias) : std::ldexp(mantissa, 1 - bias));
}

// Of the two bf16 around x the nearer one, by their distances; the even one in the middle.
double nearest_bf16(float x) {
  const auto low = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);  // towards zero
  const auto high = static_cast<uint16_t>(low + 1);
  const double a = value_of(low, WeightType::bf16), b = value_of(high, WeightType::bf16);
  const double to_a = std::abs(x - a), to_b = std::abs(b - x);
  return to_a < to_b || (to_a == to_b && low % 2 == 0) ? a : b;
}

// What is there before must not be read either.
constexpr float untouched = std::numeric_limits<float>::quiet_NaN();

struct LinearCase {
  int64_t rows, in, out, gap;
  bool bias;
};

struct HalfLinear {
  HalfLinear(const LinearCase& shape, WeightType weight_type) : c(shape), type(weight_type) {
    std::mt19937 random(static_cast<unsigned>(c.rows * 131 + c.in * 17 + c.out));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < c.rows * c.in; ++i) x.push_back(normal(random));
    for (int64_t i = 0; i < c.out; ++i) b.push_back(normal(random));
    // Any sign and mantissa, exponents around 1.
    const int mantissa = type == WeightType::bf16 ? 7 : 10;
    const int one = type == WeightType::bf16 ? 127 : 15;
    for (int64_t i = 0; i < c.in * c.out; ++i) {
      const auto exponent = static_cast<int>(random() % 4) + one - 4;
      w.push_back(static_cast<uint16_t>((random() % 2) << 15 | exponent << mantissa |
                                        (random() & ((1U << mantissa) - 1))));
    }
  }
  LinearWeights weights() const { return {w.data(), type, c.in, c.out, c.bias ? b.data() : nullptr}; }
  std::vector<float> run() const {
    std::vector<float> y(static_cast<size_t>(c.rows * (c.out + c.gap)), untouched);
    linear(weights(), x.data(), c.rows, y.data(), c.out + c.gap);
    return y;
  }
  bool rounds_x() const { return type == WeightType::bf16 && c.rows > few_rows && bf16_products(); }
  LinearCase c;
  WeightType type;
  std::vector<float> x, b;
  std::vector<uint16_t> w;
};

// Elements that are wrong, and gap elements that were written.
int64_t wrong_elements(const HalfLinear& data, const std::vector<float>& y) {
  const LinearCase& c = data.c;
  int64_t wrong = 0;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t o = 0; o < c.out; ++o) {
      double sum = c.bias ? static_cast<double>(data.b[static_cast<size_t>(o)]) : 0.0;
      double size = std::abs(sum);
      for (int64_t i = 0; i < c.in; ++i) {
        const float x = data.x[static_cast<size_t>(r * c.in + i)];
        const double term = (data.rounds_x() ? nearest_bf16(x) : static_cast<double>(x)) *
                            value_of(data.w[static_cast<size_t>(o * c.in + i)], data.type);
        sum += term;
        size += std::abs(term);
      }
      // With x rounded as it should be, only the f32 sum is left: a few roundings of the sum of magnitudes.
      // One x not rounded, or rounded the other way, is off by 2^-9 of its term.
      const auto got = static_cast<double>(y[static_cast<size_t>(r * (c.out + c.gap) + o)]);
      wrong += !(std::abs(got - sum) <= 1e-6 * size);
    }
    for (int64_t g = 0; g < c.gap; ++g)
      wrong += !std::isnan(y[static_cast<size_t>(r * (c.out + c.gap) + c.out + g)]);
  }
  return wrong;
}

const std::vector<LinearCase> cases = {
    {1, 1, 1, 0, true},     {1, 5, 3, 2, true},     {1, 64, 257, 0, false},   {1, 768, 500, 0, true},
    {2, 100, 33, 1, true},  {4, 33, 9, 0, true},    {5, 16, 40, 3, true},     {8, 130, 12, 0, false},
    {9, 1, 3, 0, true},     {9, 40, 100, 5, true},  {10, 33, 17, 0, false},   {17, 64, 1, 0, true},
    {31, 7, 401, 0, true},  {64, 96, 300, 0, true}, {20, 769, 50, 1, true},   {200, 100, 500, 12, true},
    {513, 71, 97, 0, true}, {11, 1600, 9, 0, true}, {1100, 8, 385, 0, false},
};

TEST_CASE("[gemm] weights in 16 bits: the double-precision product of what is stored, every shape") {
  for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
    for (const LinearCase& c : cases) {
      CAPTURE(c.rows);
      CAPTURE(c.in);
      CAPTURE(c.out);
      CAPTURE(static_cast<int>(type));
      const HalfLinear data(c, type);
      CHECK(wrong_elements(data, data.run()) == 0);
    }
  }
}

TEST_CASE("[gemm] weights in 16 bits are right on every instruction set of this CPU") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
      for (const LinearCase& c : cases) {
        if (c.rows > 64) continue;
        CAPTURE(c.in);
        const HalfLinear data(c, type);
        CHECK(wrong_elements(data, data.run()) == 0);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[gemm] weights in 16 bits: bitwise the same for 1, 2 and 3 threads") {
  const int before = thread_count();
  for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
    for (const LinearCase& c : cases) {
      const HalfLinear data(c, type);
      set_thread_count(1);
      const std::vector<float> one = data.run();
      for (const int threads : {2, 3}) {
        set_thread_count(threads);
        CHECK(std::memcmp(one.data(), data.run().data(), one.size() * sizeof(float)) == 0);
      }
    }
  }
  set_thread_count(before);
}

TEST_CASE("[gemm] weights in 16 bits: nothing behind an input or an output is touched") {
  for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
    for (LinearCase c : cases) {
      c.gap = 0;
      c.in += c.in % 2;  // a whole number of floats holds the weights
      const HalfLinear data(c, type);
      const std::vector<float> expected = data.run();
      std::vector<float> packed(data.w.size() / 2);
      std::memcpy(packed.data(), data.w.data(), packed.size() * sizeof(float));
      test::GuardedFloats x(data.x), w(packed), b(data.b), y(expected);
      linear({w.data(), type, c.in, c.out, c.bias ? b.data() : nullptr}, x.data(), c.rows, y.data(), c.out);
      CHECK(std::memcmp(expected.data(), y.data(), expected.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("[gemm] weights in 16 bits: NaN and infinity reach the outputs that read them, and no others") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
    for (const int64_t rows : {int64_t{3}, int64_t{20}}) {
      HalfLinear data({rows, 40, 33, 0, true}, type);
      const auto at = [&](const std::vector<float>& y, int64_t r, int64_t o) {
        return y[static_cast<size_t>(r * 33 + o)];
      };
      data.x[static_cast<size_t>(1 * 40 + 7)] = nan;
      data.x[static_cast<size_t>(2 * 40 + 7)] = infinity;
      data.w[static_cast<size_t>(5 * 40 + 9)] = type == WeightType::bf16 ? 0x7fc0 : 0x7e00;   // NaN
      data.w[static_cast<size_t>(6 * 40 + 10)] = type == WeightType::bf16 ? 0xff80 : 0xfc00;  // -infinity
      const std::vector<float> y = data.run();
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t o = 0; o < 33; ++o) {
          CAPTURE(r);
          CAPTURE(o);
          const bool both = r == 2 && o == 6;  // infinities of any signs
          if (both) continue;
          CHECK(std::isnan(at(y, r, o)) == (r == 1 || o == 5));
          CHECK(std::isinf(at(y, r, o)) == (r != 1 && o != 5 && (r == 2 || o == 6)));
        }
      }
    }
  }
}

TEST_CASE("[gemm] weights in 16 bits: no rows and no outputs are fine; no inputs leave the bias") {
  const std::vector<float> b = {3, 4};
  for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
    for (const int64_t rows : {int64_t{1}, int64_t{12}}) {
      std::vector<float> y(static_cast<size_t>(rows * 2), -1.0F);
      linear({nullptr, type, 4, 2, b.data()}, nullptr, 0, y.data(), 2);
      linear({nullptr, type, 4, 0, b.data()}, nullptr, rows, y.data(), 2);
      CHECK(y == std::vector<float>(y.size(), -1.0F));
      linear({nullptr, type, 0, 2, b.data()}, nullptr, rows, y.data(), 2);
      for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == b[i % 2]);
    }
  }
}

TEST_CASE("[gemm] all 65,536 numbers of bf16 and f16 are widened to their value, on every instruction set") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const WeightType type : {WeightType::bf16, WeightType::f16}) {
      for (const int64_t columns : {65536, 1, 17}) {  // whole vectors, none, both
        std::vector<uint16_t> all(65536 / static_cast<size_t>(columns) * static_cast<size_t>(columns));
        for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
        std::vector<float> out(all.size());
        const auto rows = static_cast<int64_t>(all.size()) / columns;
        widen({all.data(), type, rows, columns, columns, out.data()});
        int64_t wrong = 0;
        for (size_t i = 0; i < all.size(); ++i) {
          const double want = value_of(all[i], type);
          wrong += std::isnan(want) ? !std::isnan(out[i]) : out[i] != static_cast<float>(want);
          wrong += !std::isnan(want) && std::signbit(out[i]) != (all[i] >= 0x8000);
        }
        CHECK(wrong == 0);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[gemm] the nearest bf16, ties to even, on every instruction set") {
  std::vector<float> x = {0, -0.0F, 1, -1, 3.4e38F, -3.4e38F, 1e-40F, std::numeric_limits<float>::infinity()};
  // Every fraction of a step between two neighbours, at even and odd ones, small and large.
  for (const uint32_t high : {0x3f80U, 0x3f81U, 0x0001U, 0xbf80U, 0xc2a3U, 0x7f7eU}) {
    for (const uint32_t low : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU})
      x.push_back(std::bit_cast<float>(high << 16 | low));
  }
  while (x.size() % 16 != 5) x.push_back(1.00390625F);  // a last piece of a vector
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    std::vector<uint16_t> out(x.size() + 1, 0xabcd);
    round_to_bf16(x.data(), static_cast<int64_t>(x.size()), out.data());
    for (size_t i = 0; i < x.size(); ++i) {
      CAPTURE(x[i]);
      CHECK(value_of(out[i], WeightType::bf16) ==
            (std::abs(x[i]) > 3.3961e38F ? std::copysign(std::numeric_limits<double>::infinity(), x[i])
                                         : nearest_bf16(x[i])));
    }
    CHECK(out.back() == 0xabcd);
    // A NaN whose payload sits in the low bits alone must not become infinity.
    for (const uint32_t bits : {0x7f800001U, 0xffc00000U, 0x7fffffffU}) {
      const std::vector<float> nan(20, std::bit_cast<float>(bits));
      round_to_bf16(nan.data(), 20, out.data());
      for (size_t i = 0; i < 20; ++i) CHECK(std::isnan(value_of(out[i], WeightType::bf16)));
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace kvviz::kernels
