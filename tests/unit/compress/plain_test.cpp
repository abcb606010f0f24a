// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kvviz/compress/rounding.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using namespace kvviz::test;

namespace {

/// Both zeros, and every exponent with mantissas that lie on, between and beside the numbers of narrow
/// formats.
std::vector<float> all_kinds() {
  std::vector<float> all{0.0F, -0.0F};
  for (int exponent = -149; exponent <= 127; ++exponent)
    for (int part = 0; part < 64; ++part)
      for (const float nudge : {-0x1p-20F, 0.0F, 0x1p-20F}) {
        const float x = std::ldexp(1 + static_cast<float>(part) / 64 + nudge, exponent);
        if (!std::isfinite(x)) continue;
        all.push_back(x);
        all.push_back(-x);
      }
  return all;
}

/// The 127 numbers of E4M3 that are not negative: 4 bits of exponent with bias 7, 3 of mantissa.
std::vector<double> e4m3_numbers() {
  std::vector<double> all;
  for (int bits = 0; bits < 127; ++bits) {
    const int exponent = bits >> 3, mantissa = bits & 7;
    all.push_back(exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
  }
  return all;
}

/// The nearest of them; of two as near the one with the even code.
double nearest_e4m3(const std::vector<double>& all, double x) {
  size_t best = 0;
  for (size_t i = 1; i < all.size(); ++i) {
    const double gain = std::fabs(std::fabs(x) - all[best]) - std::fabs(std::fabs(x) - all[i]);
    if (gain > 0 || (gain == 0 && i % 2 == 0)) best = i;
  }
  return std::copysign(all[best], x);
}

}  // namespace

TEST_CASE("[plain] f16 is IEEE half for every kind of number, and saturates") {
  size_t wrong = 0;
  for (const float x : all_kinds()) {
    const float got = compress::to_f16(x);
    wrong += got == half_of(x) && std::signbit(got) == std::signbit(x) ? 0 : 1;
    const auto torch = static_cast<float>(c10::Half(x));
    if (std::isfinite(torch)) wrong += got == torch ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(compress::to_f16(1e30F) == 65504.0F);
}

TEST_CASE("[plain] bf16 is libtorch's for every kind of number, and saturates") {
  size_t wrong = 0;
  for (const float x : all_kinds()) {
    const auto torch = static_cast<float>(c10::BFloat16(x));
    if (std::isfinite(torch)) wrong += compress::to_bf16(x) == torch ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(compress::to_bf16(-3.4e38F) == -0x1.FEp127F);
}

TEST_CASE("[plain] fp8 is the nearest E4M3 number, ties to even, and saturates at 448") {
  const auto all = e4m3_numbers();
  CHECK(all.back() == 448);
  size_t wrong = 0;
  for (const float x : all_kinds()) wrong += compress::to_e4m3(x) == nearest_e4m3(all, x) ? 0 : 1;
  CHECK(wrong == 0);
}

TEST_CASE("[plain] f32 is bit-equal and a tensor of its own") {
  at::Tensor x = cache_like({2, 50, 24}, 14);
  x.data_ptr<float>()[3] = -0.0F;
  const compress::Coded coded = code("f32", x);
  CHECK(std::memcmp(coded.restored.data_ptr(), x.data_ptr(), x.nbytes()) == 0);
  CHECK(coded.restored.data_ptr() != x.data_ptr());
}

TEST_CASE("[plain] f16 and bf16 of a tensor are libtorch's") {
  const at::Tensor x = cache_like({3, 700, 80}, 15);
  CHECK(at::equal(code("f16", x).restored, x.to(at::kHalf).to(at::kFloat)));
  CHECK(at::equal(code("bf16", x).restored, x.to(at::kBFloat16).to(at::kFloat)));
}

TEST_CASE("[plain] fp8: each head has its scale, and the largest number of a head is kept") {
  const auto all = e4m3_numbers();
  at::Tensor x = cache_like({2, 40, 16}, 16);
  x.select(0, 1).mul_(1000);
  const auto in = numbers(x), got = numbers(code("fp8", x).restored);
  for (size_t head = 0; head < 2; ++head) {
    const auto first = in.begin() + static_cast<ptrdiff_t>(head * 640);
    const float largest = std::fabs(
        *std::max_element(first, first + 640, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
    const float scale = largest / 448;
    for (size_t i = head * 640; i < (head + 1) * 640; ++i) {
      CHECK(got[i] == static_cast<float>(nearest_e4m3(all, in[i] / scale)) * scale);
      // Half a step of three bits; beneath the least normal number half a step of those.
      CHECK(std::fabs(got[i] - in[i]) <= std::max(std::fabs(in[i]) / 16, scale * 0x1p-10F) * 1.0001F);
    }
  }
}
