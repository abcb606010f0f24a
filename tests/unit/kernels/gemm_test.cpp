// SPDX-License-Identifier: MIT
#include "kvviz/kernels/gemm.hpp"

#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kvviz/kernels/thread_pool.hpp"
#include "unit/kernels/guarded_floats.hpp"

namespace kvviz::kernels {
namespace {

struct LinearCase {
  int64_t rows, in, out, gap;
  bool bias;
};

struct LinearData {
  explicit LinearData(const LinearCase& c) {
    std::mt19937 random(static_cast<unsigned>(c.rows * 131 + c.in * 17 + c.out));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& to, int64_t size) {
      to.resize(static_cast<size_t>(size));
      for (float& value : to) value = normal(random);
    };
    fill(x, c.rows * c.in);
    fill(w, c.out * c.in);
    fill(b, c.out);
  }
  std::vector<float> x, w, b;
};

std::vector<float> run_linear(const LinearCase& c, const LinearData& data) {
  std::vector<float> y(static_cast<size_t>(c.rows * (c.out + c.gap)), 77.0F);
  linear(data.x.data(), data.w.data(), c.bias ? data.b.data() : nullptr, y.data(), c.rows, c.in, c.out,
         c.out + c.gap);
  return y;
}

// Number of elements that are wrong, and of gap elements that were written.
int64_t wrong_elements(const LinearCase& c, const LinearData& data, const std::vector<float>& y) {
  int64_t wrong = 0;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t o = 0; o < c.out; ++o) {
      double sum = c.bias ? static_cast<double>(data.b[static_cast<size_t>(o)]) : 0.0;
      double size = std::abs(sum);
      for (int64_t i = 0; i < c.in; ++i) {
        const double term = static_cast<double>(data.x[static_cast<size_t>(r * c.in + i)]) *
                            static_cast<double>(data.w[static_cast<size_t>(o * c.in + i)]);
        sum += term;
        size += std::abs(term);
      }
      // f32 sums: a few roundings of the sum of magnitudes, far below the size of one missing term.
      const double tolerance = 1e-6 * size;
      wrong += !(std::abs(y[static_cast<size_t>(r * (c.out + c.gap) + o)] - sum) <= tolerance);
    }
    for (int64_t g = 0; g < c.gap; ++g)
      wrong += y[static_cast<size_t>(r * (c.out + c.gap) + c.out + g)] != 77.0F;
  }
  return wrong;
}

const std::vector<LinearCase> cases = {
    {1, 1, 1, 0, true},     {1, 5, 3, 2, true},        {1, 64, 257, 0, false},  {1, 768, 1000, 0, true},
    {2, 100, 33, 1, true},  {3, 24, 70, 0, false},     {4, 33, 9, 0, true},     {5, 16, 40, 3, true},
    {7, 80, 65, 0, true},   {8, 130, 12, 0, false},    {9, 40, 100, 5, true},   {17, 64, 1, 0, true},
    {64, 96, 300, 0, true}, {200, 100, 500, 12, true}, {513, 72, 777, 0, true}, {1100, 8, 96, 0, false},
};

TEST_CASE("[gemm] linear equals the double-precision product, with and without bias, strided or dense") {
  for (const LinearCase& c : cases) {
    CAPTURE(c.rows);
    CAPTURE(c.in);
    CAPTURE(c.out);
    const LinearData data(c);
    CHECK(wrong_elements(c, data, run_linear(c, data)) == 0);
  }
}

TEST_CASE("[gemm] few rows are right on every instruction set of this CPU") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const LinearCase& c : cases) {
      if (c.rows > few_rows) continue;
      CAPTURE(c.in);
      const LinearData data(c);
      CHECK(wrong_elements(c, data, run_linear(c, data)) == 0);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[gemm] nothing behind an input or an output is touched") {
  for (const LinearCase& c : cases) {
    if (c.gap > 0) continue;
    const LinearData data(c);
    const std::vector<float> expected = run_linear(c, data);
    test::GuardedFloats x(data.x), w(data.w), b(data.b), y(expected);
    linear(x.data(), w.data(), c.bias ? b.data() : nullptr, y.data(), c.rows, c.in, c.out, c.out);
    CHECK(std::equal(expected.begin(), expected.end(), y.data()));
  }
}

TEST_CASE("[gemm] the result is bitwise the same for 1, 2 and 3 threads") {
  const int before = thread_count();
  for (const LinearCase& c : cases) {
    const LinearData data(c);
    set_thread_count(1);
    const std::vector<float> one = run_linear(c, data);
    for (const int threads : {2, 3}) {
      set_thread_count(threads);
      const std::vector<float> many = run_linear(c, data);
      CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
    }
  }
  set_thread_count(before);
}

TEST_CASE("[gemm] no rows and no outputs are fine; no inputs leave the bias") {
  const std::vector<float> b = {3, 4};
  for (const int64_t rows : {int64_t{1}, int64_t{12}}) {
    std::vector<float> y(static_cast<size_t>(rows * 2), -1.0F);
    linear(nullptr, nullptr, b.data(), y.data(), 0, 4, 2, 2);
    linear(nullptr, nullptr, b.data(), y.data(), rows, 4, 0, 2);
    CHECK(y == std::vector<float>(y.size(), -1.0F));
    linear(nullptr, nullptr, b.data(), y.data(), rows, 0, 2, 2);
    for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == b[i % 2]);
  }
}

TEST_CASE("[gemm] NaN in an input row reaches exactly the outputs of that row") {
  for (const int64_t rows : {int64_t{3}, int64_t{20}}) {
    const LinearCase c{rows, 40, 33, 0, true};
    LinearData data(c);
    data.x[static_cast<size_t>(1 * c.in + 7)] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> y = run_linear(c, data);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < c.out; ++o)
        CHECK(std::isnan(y[static_cast<size_t>(r * c.out + o)]) == (r == 1));
    }
  }
}

}  // namespace
}  // namespace kvviz::kernels
