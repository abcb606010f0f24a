// SPDX-License-Identifier: MIT
#include "kvviz/compress/quantise.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kvviz/kernels/thread_pool.hpp"
#include "support/close.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using compress::Side;
using namespace kvviz::test;

namespace {

// Numbers reach about 60 in magnitude: some roundings of f32, and far less than a step of 8 bits.
constexpr double kTolerance = 2e-5;

bool all_finite(const at::Tensor& x) {
  return std::ranges::all_of(numbers(x), [](float value) { return std::isfinite(value); });
}

const std::vector<Shape> kShapes{{2, 300, 64}, {1, 77, 80}, {3, 5, 16}, {1, 1, 8}, {2, 1030, 128}};

}  // namespace

TEST_CASE("[quantise] per tensor: the formula in double") {
  for (const int bits : {2, 3, 4, 8}) {
    for (const Shape shape : kShapes) {
      CAPTURE(bits);
      CAPTURE(shape.tokens);
      const at::Tensor x = cache_like(shape, 1);
      Group all(static_cast<size_t>(x.numel()));
      for (size_t i = 0; i < all.size(); ++i) all[i] = i;
      Expected want(all.size());
      round_to_nearest(numbers(x), {all}, bits, want);
      CHECK(misses(code("rtn_tensor:" + std::to_string(bits), x).restored, want, kTolerance) == 0);
    }
  }
}

TEST_CASE("[quantise] per token and per channel: the formula in double, whole rows and groups of them") {
  for (const bool by_token : {true, false}) {
    for (const int bits : {2, 3, 4, 8}) {
      for (const int64_t group : {0, 2, 24, 32, 500}) {
        for (const Shape shape : kShapes) {
          CAPTURE(by_token);
          CAPTURE(bits);
          CAPTURE(group);
          CAPTURE(shape.tokens);
          const at::Tensor x = cache_like(shape, by_token ? 2 : 3);
          Expected want(static_cast<size_t>(x.numel()));
          const int64_t whole = by_token ? shape.channels : shape.tokens;
          round_to_nearest(
              numbers(x),
              groups(shape,
                     {.by_token = by_token, .length = group == 0 ? whole : group, .last = shape.tokens}),
              bits, want);
          const std::string method = (by_token ? "rtn_token:" : "rtn_channel:") + std::to_string(bits) +
                                     (group == 0 ? "" : ":" + std::to_string(group));
          CHECK(misses(code(method, x).restored, want, kTolerance) == 0);
        }
      }
    }
  }
}

TEST_CASE("[quantise] KIVI: keys by channel in full blocks, values by token before a sliding window") {
  struct Case {
    const char* method;
    int bits;
    int64_t group;
    Shape shape;
    int64_t keys, values;  // tokens that are quantised, by hand
  };
  // A window longer than the text, one filled exactly, one filled twice and a bit; no window.
  const std::vector<Case> cases{
      {"kivi:2", 2, 32, {2, 300, 64}, 256, 172},       {"kivi:4", 4, 32, {2, 128, 64}, 128, 0},
      {"kivi:4", 4, 32, {1, 127, 64}, 0, 0},           {"kivi:3:16:16", 3, 16, {1, 70, 80}, 64, 54},
      {"kivi:8:64:64", 8, 64, {1, 200, 40}, 192, 136}, {"kivi:2:32:0", 2, 32, {2, 77, 64}, 64, 77},
      {"kivi:2:32", 2, 32, {3, 1100, 128}, 1024, 972}, {"kivi:4:24:48", 4, 24, {1, 700, 128}, 672, 652}};
  for (const Case& one : cases) {
    CAPTURE(one.method);
    CAPTURE(one.shape.tokens);
    const at::Tensor x = cache_like(one.shape, 4);
    for (const Side side : {Side::key, Side::value}) {
      const bool by_token = side == Side::value;
      const int64_t boundary = by_token ? one.values : one.keys;
      Expected want(static_cast<size_t>(x.numel()));
      round_to_nearest(numbers(x),
                       groups(one.shape, {.by_token = by_token, .length = one.group, .last = boundary}),
                       one.bits, want);
      keep_half(numbers(x), one.shape, boundary, one.shape.tokens, want);
      const at::Tensor restored = code(one.method, x, side).restored;
      CHECK(misses(restored, want, kTolerance) == 0);
      if (boundary == one.shape.tokens) continue;
      const at::Tensor window = restored.slice(1, boundary);
      CHECK(at::equal(window, x.slice(1, boundary).to(at::kHalf).to(at::kFloat)));
    }
  }
}

TEST_CASE("[quantise] the error never grows with the bits") {
  const at::Tensor x = cache_like({2, 512, 64}, 5);
  for (const std::string method :
       {"rtn_tensor:", "rtn_token:", "rtn_channel:", "kivi:", "hadamard:rtn_token:"}) {
    for (const Side side : {Side::key, Side::value}) {
      CAPTURE(method);
      double last = std::numeric_limits<double>::infinity();
      for (const char* bits : {"2", "3", "4", "8"}) {
        const double error = squared_error(code(method + bits, x, side).restored, x);
        // A bit more halves the step at least; the rounding of scales takes little of it.
        CHECK(error < 0.5 * last);
        last = error;
      }
    }
  }
}

TEST_CASE("[quantise] uniform numbers are off by s^2 / 12 on average") {
  std::mt19937 random(6);
  std::uniform_real_distribution<float> uniform(0, 1);
  at::Tensor x = at::empty({2, 1024, 64}, at::kFloat);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = uniform(random);
  for (const int bits : {2, 4}) {
    const double step = 1 / (std::pow(2, bits) - 1);
    const double mean = squared_error(code("rtn_tensor:" + std::to_string(bits), x).restored, x) / 131072;
    // Standard error of the mean: 0.9 / sqrt(131072) = 0.25 %; the first and last half step weigh nothing.
    check_close(mean, step * step / 12, {.rel = 0.02});
  }
}

TEST_CASE("[quantise] a group of equal numbers is exact, or the f16 of the number") {
  for (const char* method : {"rtn_tensor:2", "rtn_token:3", "rtn_channel:4:32", "kivi:2:32:0"}) {
    CAPTURE(method);
    const at::Tensor even = at::full({2, 64, 32}, -3.25F);
    CHECK(at::equal(code(method, even).restored, even));
    CHECK(at::equal(code(method, at::zeros({2, 64, 32})).restored, at::zeros({2, 64, 32})));
    const at::Tensor odd = at::full({2, 64, 32}, 0.1F);
    CHECK(at::equal(code(method, odd).restored, odd.to(at::kHalf).to(at::kFloat)));
  }
}

TEST_CASE("[quantise] numbers that a grid holds are restored exactly") {
  // Two tokens of four channels, steps of 1/2 from -1/2 and of 2 from 8.
  const at::Tensor x = at::tensor({-0.5F, 0.0F, 0.5F, 1.0F, 8.0F, 14.0F, 10.0F, 12.0F}).reshape({1, 2, 4});
  CHECK(at::equal(code("rtn_token:2", x).restored, x));
  CHECK_FALSE(at::equal(code("rtn_tensor:2", x).restored, x));
}

TEST_CASE("[quantise] ties go to the even code") {
  // Zero 0, scale 1: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2.
  const at::Tensor x = at::tensor({0.0F, 0.5F, 1.5F, 2.5F, 3.0F}).reshape({1, 1, 5});
  CHECK(numbers(code("rtn_token:2", x).restored) == std::vector<float>{0, 0, 2, 2, 3});
}

TEST_CASE("[quantise] huge, tiny and mixed magnitudes stay finite") {
  for (const char* method : {"f16", "bf16", "fp8", "rtn_tensor:4", "rtn_token:2:32", "rtn_channel:3:32",
                             "kivi:2:16:16", "q8_0", "q4_0", "hadamard:rtn_token:4", "hadamard:fp8"}) {
    for (const float size : {1e-44F, 1e-38F, 1e-8F, 1e5F, 1e30F}) {
      CAPTURE(method);
      CAPTURE(size);
      const at::Tensor x = cache_like({2, 64, 64}, 7).mul_(size);
      CHECK(all_finite(code(method, x).restored));
      at::Tensor mixed = cache_like({2, 64, 64}, 8);
      mixed.select(2, 5).mul_(size);
      CHECK(all_finite(code(method, mixed, Side::value).restored));
    }
  }
}

TEST_CASE("[quantise] the number of threads changes nothing, nor does coding change its input") {
  const at::Tensor x = cache_like({3, 2000, 64}, 9);
  const at::Tensor before = x.clone();
  const int threads = kernels::thread_count();
  for (const char* method :
       {"fp8", "rtn_tensor:3", "rtn_token:4", "rtn_channel:4:32", "kivi:2", "q4_0", "hadamard:q8_0"}) {
    CAPTURE(method);
    kernels::set_thread_count(1);
    const compress::Coded alone = code(method, x);
    kernels::set_thread_count(3);
    const compress::Coded together = code(method, x);
    CHECK(at::equal(alone.restored, together.restored));
    CHECK(alone.bytes.total() == together.bytes.total());
    CHECK(at::equal(x, before));
  }
  kernels::set_thread_count(threads);
}

TEST_CASE("[quantise] a tensor that is not contiguous is coded as its numbers") {
  const at::Tensor x = cache_like({64, 40, 2}, 10).permute({2, 1, 0});
  for (const char* method : {"f32", "f16", "rtn_channel:4", "kivi:4:8:8", "q8_0"})
    CHECK(at::equal(code(method, x).restored, code(method, x.contiguous()).restored));
}
