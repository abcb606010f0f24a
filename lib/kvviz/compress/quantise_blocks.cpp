// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/compress/quantise.hpp"
#include "kvviz/compress/rounding.hpp"

namespace kvviz::compress {
namespace {

constexpr int64_t kBlock = 32;

/// Calls restore(in, out, count) for each block and counts its codes and its scale.
template <class Restore>
Bytes for_each_block(const Rows& rows, int bits, Restore restore) {
  int64_t payload = 0, metadata = 0;
  for (int64_t t = 0; t < rows.tokens; ++t) {
    for (int64_t first = 0; first < rows.channels; first += kBlock) {
      const int64_t count = std::min(kBlock, rows.channels - first);
      const int64_t offset = t * rows.channels + first;
      restore(rows.in + offset, rows.out + offset, count);
      payload += packed_bytes(count, bits);
      metadata += 2;
    }
  }
  return {static_cast<double>(payload), static_cast<double>(metadata)};
}

float largest_magnitude(const float* in, int64_t count) {
  float largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(in[i]));
  return largest;
}

/// Ties away from zero, as std::round; |x| < 2^31. Vectorises without an instruction for it.
float round_away(float x) {
  const auto whole = static_cast<float>(static_cast<int32_t>(x));
  const float step = std::fabs(x - whole) >= 0.5F ? 1.0F : 0.0F;
  return whole + std::copysign(step, x);
}

}  // namespace

Bytes quantise_q8_0(const Rows& rows) {
  return for_each_block(rows, 8, [](const float* in, float* out, int64_t count) {
    const float exact = largest_magnitude(in, count) / 127.0F;
    const float scale = to_f16(exact);
    // A scale that is 0 in f16 may have no finite inverse.
    const float inverse = scale > 0 ? 1.0F / exact : 0.0F;
    for (int64_t i = 0; i < count; ++i) out[i] = round_away(in[i] * inverse) * scale;
  });
}

Bytes quantise_q4_0(const Rows& rows) {
  return for_each_block(rows, 4, [](const float* in, float* out, int64_t count) {
    const float largest = largest_magnitude(in, count);
    const float signed_largest =
        *std::find_if(in, in + count, [&](float x) { return std::fabs(x) == largest; });
    const float exact = signed_largest / -8.0F;
    const float scale = to_f16(exact);
    const float inverse = scale != 0 ? 1.0F / exact : 0.0F;
    for (int64_t i = 0; i < count; ++i) {
      const auto code = static_cast<int32_t>(in[i] * inverse + 8.5F);
      out[i] = static_cast<float>(std::min(code, 15) - 8) * scale;
    }
  });
}

}  // namespace kvviz::compress
