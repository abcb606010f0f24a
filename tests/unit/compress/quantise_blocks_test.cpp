// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "support/close.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using namespace kvviz::test;

namespace {

/// The formulas of the header, a block at a time, in double.
Expected blocks_of(const at::Tensor& x, Shape shape, bool four_bits) {
  const auto in = numbers(x);
  Expected want(in.size());
  for (const Group& block : groups(shape, {.by_token = true, .length = 32, .last = shape.tokens})) {
    double peak = 0;
    for (const size_t i : block)
      if (std::fabs(in[i]) > std::fabs(peak)) peak = in[i];
    const double scale = four_bits ? peak / -8 : std::fabs(peak) / 127;
    for (const size_t i : block) {
      if (scale == 0) continue;
      const double place = in[i] / scale;
      const auto restored = [&](double at) {
        const double code = four_bits ? std::min(std::floor(at + 8.5), 15.0) - 8 : std::round(at);
        return code * half_of(static_cast<float>(scale));
      };
      const double away = place - std::floor(place) < 0.5 ? 1e-4 : -1e-4;
      want.value[i] = restored(place);
      want.other[i] = restored(place + away);
    }
  }
  return want;
}

}  // namespace

TEST_CASE("[blocks] q8_0 by hand") {
  // d = 127 / 127 = 1: ties go away from zero, the largest number is exact.
  at::Tensor x = at::zeros({1, 1, 32});
  const std::vector<float> head{127.0F, -127.0F, 0.5F, -0.5F, 2.5F, -2.5F, 0.49999997F, 99.4F};
  std::copy(head.begin(), head.end(), x.data_ptr<float>());
  std::vector<float> want(32, 0.0F);
  const std::vector<float> codes{127, -127, 1, -1, 3, -3, 0, 99};
  std::copy(codes.begin(), codes.end(), want.begin());
  CHECK(numbers(code("q8_0", x).restored) == want);
}

TEST_CASE("[blocks] q4_0 by hand: the largest magnitude is exact with its sign, the other end is cut") {
  // Largest is 16: d = 16 / -8 = -2. 16 -> code 0 -> -8 x -2 = 16. -16 -> 16, cut to 15 -> 7 x -2 = -14.
  // 3 -> floor(-1.5 + 8.5) = 7 -> 2. -3 -> floor(1.5 + 8.5) = 10 -> -4. 0.9 -> floor(8.05) = 8 -> 0.
  at::Tensor x = at::zeros({1, 1, 32});
  const std::vector<float> head{16.0F, -16.0F, 3.0F, -3.0F, 0.9F};
  std::copy(head.begin(), head.end(), x.data_ptr<float>());
  auto got = numbers(code("q4_0", x).restored);
  for (float& value : got) value += 0.0F;  // -0 of the code 8 is 0
  std::vector<float> want(32, 0.0F);
  const std::vector<float> restored{16, -14, 2, -4, 0};
  std::copy(restored.begin(), restored.end(), want.begin());
  CHECK(got == want);

  // Largest is -8: d = 1, and 8 is cut to 7; of equal magnitudes the first gives the sign.
  x.data_ptr<float>()[0] = -8.0F;
  x.data_ptr<float>()[1] = 8.0F;
  got = numbers(code("q4_0", x).restored);
  CHECK(got[0] == -8.0F);
  CHECK(got[1] == 7.0F);
}

TEST_CASE("[blocks] the formulas in double, with a head_dim that is no multiple of 32") {
  for (const Shape shape : {Shape{2, 300, 64}, Shape{1, 33, 80}, Shape{2, 9, 16}, Shape{1, 1, 1}}) {
    CAPTURE(shape.channels);
    const at::Tensor x = cache_like(shape, 11);
    CHECK(misses(code("q8_0", x).restored, blocks_of(x, shape, false), 2e-5) == 0);
    CHECK(misses(code("q4_0", x).restored, blocks_of(x, shape, true), 2e-5) == 0);
  }
}

TEST_CASE("[blocks] zeros stay zero") {
  for (const char* method : {"q8_0", "q4_0"})
    CHECK(at::equal(code(method, at::zeros({1, 3, 64})).restored, at::zeros({1, 3, 64})));
}
