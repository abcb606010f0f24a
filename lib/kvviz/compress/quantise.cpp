// SPDX-License-Identifier: MIT
#include "kvviz/compress/quantise.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kvviz/compress/rounding.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

constexpr float kToWhole = 8388608.0F;  // 2^23: f32 has no fraction from here on

float most_of(int bits) {
  return static_cast<float>((1 << bits) - 1);
}

/// With scale 0 the quotient may be infinite or NaN: the comparisons make a code of it, and every code
/// restores the zero point.
inline float restored(float x, float zero, float scale, float most) {
  const float place = (x - zero) / scale;
  const float above = place > 0.0F ? place : 0.0F;
  const float inside = above < most ? above : most;
  return ((inside + kToWhole) - kToWhole) * scale + zero;
}

Bytes group_bytes(int64_t count, int bits) {
  return {.payload = static_cast<double>(packed_bytes(count, bits)), .metadata = 4};
}

void add(Bytes& total, const Bytes& part) {
  total.payload += part.payload;
  total.metadata += part.metadata;
}

}  // namespace

Grid min_max_grid(float low, float high, int bits) {
  const double step = (static_cast<double>(high) - static_cast<double>(low)) / ((1 << bits) - 1);
  return {.scale = to_f16(static_cast<float>(step)), .zero = to_f16(low)};
}

int64_t packed_bytes(int64_t count, int bits) {
  return (count * bits + 7) / 8;
}

void quantise_on(const Rows& rows, const Grid& grid, int bits) {
  const float most = most_of(bits);
  for (int64_t i = 0; i < rows.size(); ++i) rows.out[i] = restored(rows.in[i], grid.zero, grid.scale, most);
}

Bytes quantise_tokens(const Rows& rows, Grouping grouping) {
  const int64_t group = grouping.group > 0 ? grouping.group : rows.channels;
  Bytes total;
  for (int64_t t = 0; t < rows.tokens; ++t) {
    for (int64_t first = 0; first < rows.channels; first += group) {
      const int64_t count = std::min(group, rows.channels - first);
      const float* const in = rows.in + t * rows.channels + first;
      float* const out = rows.out + t * rows.channels + first;
      float low = in[0], high = in[0];
#pragma omp simd reduction(min : low) reduction(max : high)
      for (int64_t i = 0; i < count; ++i) {
        low = std::min(low, in[i]);
        high = std::max(high, in[i]);
      }
      quantise_on({in, out, 1, count}, min_max_grid(low, high, grouping.bits), grouping.bits);
      add(total, group_bytes(count, grouping.bits));
    }
  }
  return total;
}

Bytes quantise_channels(const Rows& rows, Grouping grouping) {
  const int64_t group = grouping.group > 0 ? grouping.group : rows.tokens;
  const auto channels = static_cast<size_t>(rows.channels);
  const float most = most_of(grouping.bits);
  std::vector<float> zero(channels), scale(channels);
  Bytes total;
  for (int64_t first = 0; first < rows.tokens; first += group) {
    const int64_t last = std::min(first + group, rows.tokens);
    float* const low = zero.data();
    float* const high = scale.data();
    std::copy_n(rows.in + first * rows.channels, channels, low);
    std::copy_n(low, channels, high);
    for (int64_t t = first + 1; t < last; ++t) {
      const float* const in = rows.in + t * rows.channels;
#pragma omp simd
      for (size_t c = 0; c < channels; ++c) {
        low[c] = in[c] < low[c] ? in[c] : low[c];
        high[c] = in[c] > high[c] ? in[c] : high[c];
      }
    }
    for (size_t c = 0; c < channels; ++c) {
      const Grid grid = min_max_grid(low[c], high[c], grouping.bits);
      zero[c] = grid.zero;
      scale[c] = grid.scale;
      add(total, group_bytes(last - first, grouping.bits));
    }
    for (int64_t t = first; t < last; ++t) {
      const float* const in = rows.in + t * rows.channels;
      float* const out = rows.out + t * rows.channels;
#pragma omp simd
      for (size_t c = 0; c < channels; ++c) out[c] = restored(in[c], zero[c], scale[c], most);
    }
  }
  return total;
}

Bytes keep_f16(const Rows& rows) {
  for (int64_t i = 0; i < rows.size(); ++i) rows.out[i] = to_f16(rows.in[i]);
  return {.metadata = 2.0 * static_cast<double>(rows.size())};
}

int64_t kivi_quantised_tokens(int64_t n, Side side, Grouping grouping, int64_t window) {
  if (side == Side::value) return std::max<int64_t>(n - window, 0);
  return n - n % (window > 0 ? window : grouping.group);
}

Grouping parse_grouping(std::string_view method, const std::vector<int64_t>& numbers) {
  require<UsageError>(!numbers.empty(), "[", method, "] got no bits, expected ", method,
                      ":BITS with 2, 3, 4 or 8");
  const int64_t bits = numbers[0];
  require<UsageError>(bits == 2 || bits == 3 || bits == 4 || bits == 8, "[", method, "] got ", bits,
                      " bits, expected 2, 3, 4 or 8");
  if (numbers.size() == 1) return {.bits = static_cast<int>(bits)};
  require<UsageError>(numbers[1] >= 2, "[", method, "] got a group of ", numbers[1],
                      ", expected 2 or more: each element of a group of 1 would be its own zero point");
  return {.bits = static_cast<int>(bits), .group = numbers[1]};
}

}  // namespace kvviz::compress
