// SPDX-License-Identifier: MIT
#include "kvviz/compress/row_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/compress/group_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kvviz/compress/rounding.hpp"
#include "kvviz/compress/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::compress::row_kernels {
namespace HWY_NAMESPACE {
namespace {

/// low and high become zero and scale.
void to_grids(float* low, float* high, int64_t count, int bits) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const Grid grid = min_max_grid(low[i], high[i], bits);
    low[i] = grid.zero;
    high[i] = grid.scale;
  }
}

/// Calls f(index, offset, count) for each `group` successive channels of each token.
template <class F>
HWY_INLINE void for_each_group(const Rows& rows, int64_t group, const F& f) {
  int64_t index = 0;
  for (int64_t row = 0; row < rows.size(); row += rows.channels) {
    for (int64_t first = 0; first < rows.channels; first += group)
      f(index++, row + first, std::min(group, rows.channels - first));
  }
}

constexpr int64_t batch_floats = 2048;  // read twice: from the nearest cache the second time

/// Rows a few at a time, with two numbers for each of their groups: their grids are computed side by side.
template <class F>
HWY_INLINE void for_each_batch(const Rows& rows, int64_t group, const F& f) {
  const int64_t row_groups = (rows.channels + group - 1) / group;
  const int64_t step = std::max<int64_t>(1, batch_floats / rows.channels);
  std::vector<float> first(static_cast<size_t>(step * row_groups)), second(first.size());
  for (int64_t t = 0; t < rows.tokens; t += step) {
    const int64_t offset = t * rows.channels, count = std::min(step, rows.tokens - t);
    f(Rows{rows.in + offset, rows.out + offset, count, rows.channels}, count * row_groups, first.data(),
      second.data());
  }
}

void quantise_tokens(const Rows& rows, Grouping grouping) {
  const int64_t group = grouping.group > 0 ? std::min(grouping.group, rows.channels) : rows.channels;
  for_each_batch(rows, group, [&](const Rows& batch, int64_t groups, float* zero, float* scale) HWY_ATTR {
    for_each_group(batch, group, [&](int64_t i, int64_t at, int64_t count) HWY_ATTR {
      const Range r = reduced(extremes(batch.in + at, count));
      zero[i] = r.low;
      scale[i] = r.high;
    });
    to_grids(zero, scale, groups, grouping.bits);
    for_each_group(batch, group, [&](int64_t i, int64_t at, int64_t count) HWY_ATTR {
      map(batch.in + at, batch.out + at, count, on_grid({scale[i], zero[i]}, grouping.bits));
    });
  });
}

#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int64_t strip_vectors = 8;
#else
constexpr int64_t strip_vectors = 4;
#endif

/// Extremes of N vectors of channels, over the tokens.
template <int64_t N>
HWY_INLINE void strip_extremes(const Rows& rows, int64_t channel, float* low, float* high) {
  const Floats d;
  const int64_t n = lanes();
  FloatVector least[N], greatest[N];
  for (int64_t v = 0; v < N; ++v) least[v] = greatest[v] = hn::LoadU(d, rows.in + channel + v * n);
  for (int64_t t = 1; t < rows.tokens; ++t) {
    for (int64_t v = 0; v < N; ++v) {
      const auto x = hn::LoadU(d, rows.in + t * rows.channels + channel + v * n);
      least[v] = hn::Min(least[v], x);
      greatest[v] = hn::Max(greatest[v], x);
    }
  }
  for (int64_t v = 0; v < N; ++v) {
    hn::StoreU(least[v], d, low + channel + v * n);
    hn::StoreU(greatest[v], d, high + channel + v * n);
  }
}

template <int64_t N>
HWY_INLINE void strip_on_grids(const Rows& rows, int64_t channel, const float* zero, const float* scale,
                               FloatVector most) {
  const Floats d;
  const int64_t n = lanes();
  OnGrid grids[N];
  for (int64_t v = 0; v < N; ++v)
    grids[v] = {hn::LoadU(d, zero + channel + v * n), hn::LoadU(d, scale + channel + v * n), most};
  for (int64_t t = 0; t < rows.tokens; ++t) {
    for (int64_t v = 0; v < N; ++v) {
      const int64_t at = t * rows.channels + channel + v * n;
      hn::StoreU(grids[v](hn::LoadU(d, rows.in + at)), d, rows.out + at);
    }
  }
}

/// A grid for each channel, from all tokens of `rows`. The arrays hold a number a channel, and a vector more.
void quantise_group(const Rows& rows, int bits, float* zero, float* scale) {
  const Floats d;
  const int64_t n = lanes(), whole = rows.channels / n * n;
  int64_t c = 0;
  for (; c + strip_vectors * n <= whole; c += strip_vectors * n)
    strip_extremes<strip_vectors>(rows, c, zero, scale);
  for (; c < whole; c += n) strip_extremes<1>(rows, c, zero, scale);
  for (; c < rows.channels; ++c) {
    zero[c] = scale[c] = rows.in[c];
    for (int64_t t = 1; t < rows.tokens; ++t) {
      zero[c] = std::min(zero[c], rows.in[t * rows.channels + c]);
      scale[c] = std::max(scale[c], rows.in[t * rows.channels + c]);
    }
  }
  to_grids(zero, scale, rows.channels, bits);
  const auto most = set(static_cast<float>((1 << bits) - 1));
  for (c = 0; c + strip_vectors * n <= whole; c += strip_vectors * n)
    strip_on_grids<strip_vectors>(rows, c, zero, scale, most);
  for (; c < whole; c += n) strip_on_grids<1>(rows, c, zero, scale, most);
  if (c == rows.channels) return;
  const OnGrid grid{hn::LoadU(d, zero + c), hn::LoadU(d, scale + c), most};
  for (int64_t at = c; at < rows.size(); at += rows.channels) {
    const int64_t count = rows.channels - c;
    store_some(grid(load_some(rows.in + at, count, 0)), rows.out + at, count);
  }
}

void quantise_channels(const Rows& rows, Grouping grouping) {
  const int64_t group = grouping.group > 0 ? grouping.group : rows.tokens;
  const auto room = static_cast<size_t>(rows.channels + lanes());
  std::vector<float> zero(room), scale(room);
  for (int64_t first = 0; first < rows.tokens; first += group) {
    const int64_t offset = first * rows.channels;
    quantise_group({rows.in + offset, rows.out + offset, std::min(group, rows.tokens - first), rows.channels},
                   grouping.bits, zero.data(), scale.data());
  }
}

constexpr int64_t block = 32;

struct Q8 {
  FloatVector inverse, scale;
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    const auto place = hn::Mul(x, inverse);
    const auto whole = hn::ConvertTo(d, hn::ConvertTo(di, place));
    // Ties away from zero.
    const auto step = hn::IfThenElseZero(hn::Ge(hn::Abs(hn::Sub(place, whole)), set(0.5F)), set(1.0F));
    return hn::Mul(hn::Add(whole, hn::CopySignToAbs(step, place)), scale);
  }
};

struct Q4 {
  FloatVector inverse, scale;
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    const auto place = hn::Add(hn::Mul(x, inverse), set(8.5F));
    const auto code = hn::Min(hn::ConvertTo(d, hn::ConvertTo(di, place)), set(15.0F));
    return hn::Mul(hn::Sub(code, set(8.0F)), scale);
  }
};

/// The element of largest magnitude, the first of them, with its sign.
HWY_INLINE float signed_largest(const float* in, int64_t count) {
  const Range r = reduced(extremes(in, count));
  float found = r.high;
  if (HWY_UNLIKELY(r.high == -r.low)) {
    for (int64_t i = 0; std::fabs(found = in[i]) != r.high;) ++i;
    return found;
  }
  // A select, not a branch: the sign is anyone's guess.
  return std::copysign(std::max(r.high, -r.low), r.high + r.low);
}

HWY_INLINE float largest(const float* in, int64_t count) {
  const Range r = reduced(extremes(in, count));
  return std::max(std::fabs(r.low), std::fabs(r.high));
}

/// d = Largest(block) / codes; its inverse is that of d before it is rounded.
template <class Code, auto Largest>
HWY_INLINE void quantise_blocks(const Rows& rows, float codes) {
  for_each_batch(rows, block, [&](const Rows& batch, int64_t blocks, float* inverse, float* scale) HWY_ATTR {
    for_each_group(batch, block, [&](int64_t i, int64_t at, int64_t count) HWY_ATTR {
      scale[i] = Largest(batch.in + at, count);
    });
#pragma omp simd
    for (int64_t i = 0; i < blocks; ++i) {
      const float exact = scale[i] / codes;
      scale[i] = compress::to_f16(exact);
      // A scale that is 0 in f16 may have no finite inverse.
      inverse[i] = scale[i] != 0 ? 1.0F / exact : 0.0F;
    }
    for_each_group(batch, block, [&](int64_t i, int64_t at, int64_t count) HWY_ATTR {
      map(batch.in + at, batch.out + at, count, Code{set(inverse[i]), set(scale[i])});
    });
  });
}

void quantise_q8_0(const Rows& rows) {
  quantise_blocks<Q8, largest>(rows, 127);
}

void quantise_q4_0(const Rows& rows) {
  quantise_blocks<Q4, signed_largest>(rows, -8);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::compress::row_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::compress::row_kernels {

HWY_EXPORT(quantise_tokens);
HWY_EXPORT(quantise_channels);
HWY_EXPORT(quantise_q8_0);
HWY_EXPORT(quantise_q4_0);

void quantise_tokens(const Rows& rows, Grouping grouping) {
  HWY_DYNAMIC_DISPATCH(quantise_tokens)(rows, grouping);
}

void quantise_channels(const Rows& rows, Grouping grouping) {
  HWY_DYNAMIC_DISPATCH(quantise_channels)(rows, grouping);
}

void quantise_q8_0(const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(quantise_q8_0)(rows);
}

void quantise_q4_0(const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(quantise_q4_0)(rows);
}

}  // namespace kvviz::compress::row_kernels
#endif
