// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace kvviz::compress {

/// The nearest number that a float format with `Mantissa` stored bits and least normal exponent
/// `LeastExponent` holds, ties to even, subnormals included; beyond `largest` the largest (IEEE would give
/// infinity). x finite, Mantissa <= 22, largest < 2^100.
template <int Mantissa, int LeastExponent>
inline float rounded_float(float x, float largest) {
  const float magnitude = std::fabs(x) < largest ? std::fabs(x) : largest;
  const int32_t exponent =
      std::max(std::bit_cast<int32_t>(magnitude) & 0x7f800000, (LeastExponent + 127) << 23);
  // One unit in the last place of this f32 is one of the narrow format: the sum rounds as the format does.
  const float shift = std::bit_cast<float>(exponent + ((23 - Mantissa) << 23));
  return std::copysign((magnitude + shift) - shift, x);
}

/// IEEE half, saturating at 65504.
inline float to_f16(float x) {
  return rounded_float<10, -14>(x, 65504.0F);
}

/// FP8 E4M3 (Micikevicius et al., 2022), saturating at 448.
inline float to_e4m3(float x) {
  return rounded_float<3, -6>(x, 448.0F);
}

/// bfloat16, saturating at its largest number.
inline float to_bf16(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t magnitude = bits & 0x7fffffff;
  const int32_t rounded = (magnitude + 0x7fff + ((magnitude >> 16) & 1)) & 0x7fff0000;
  return std::bit_cast<float>(std::min(rounded, 0x7f7f0000) | (bits & ~0x7fffffff));
}

}  // namespace kvviz::compress
