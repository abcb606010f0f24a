// SPDX-License-Identifier: MIT
// Loops over floats, compiled once per instruction set.
#if defined(KVVIZ_COMPRESS_VECTORS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef KVVIZ_COMPRESS_VECTORS_INL_HPP
#undef KVVIZ_COMPRESS_VECTORS_INL_HPP
#else
#define KVVIZ_COMPRESS_VECTORS_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kvviz/compress/row_kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::compress::row_kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(Floats()));
}

HWY_INLINE FloatVector set(float x) {
  return hn::Set(Floats(), x);
}

/// `count` < lanes() floats, the rest of the vector filled with `fill`.
HWY_INLINE FloatVector load_some(const float* in, int64_t count, float fill) {
  const Floats d;
  HWY_ALIGN float part[hn::MaxLanes(d)];
  for (int64_t i = 0; i < lanes(); ++i) part[i] = i < count ? in[i] : fill;
  return hn::Load(d, part);
}

HWY_INLINE void store_some(FloatVector x, float* out, int64_t count) {
  const Floats d;
  HWY_ALIGN float part[hn::MaxLanes(d)];
  hn::Store(x, d, part);
  for (int64_t i = 0; i < count; ++i) out[i] = part[i];
}

/// out[i] = f(in[i]), a vector at a time.
template <class F>
HWY_INLINE void map(const float* in, float* out, int64_t size, const F& f) {
  const Floats d;
  const int64_t n = lanes();
  int64_t i = 0;
  for (; i + n <= size; i += n) hn::StoreU(f(hn::LoadU(d, in + i)), d, out + i);
  if (i < size) store_some(f(load_some(in + i, size - i, 0)), out + i, size - i);
}

/// What rounded_float is for one number.
template <int Mantissa, int LeastExponent>
HWY_INLINE FloatVector rounded(FloatVector x, float largest) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const auto magnitude = hn::Min(hn::Abs(x), set(largest));
  const auto exponent = hn::Max(hn::And(hn::BitCast(di, magnitude), hn::Set(di, 0x7f800000)),
                                hn::Set(di, (LeastExponent + 127) << 23));
  const auto shift = hn::BitCast(d, hn::Add(exponent, hn::Set(di, (23 - Mantissa) << 23)));
  return hn::CopySignToAbs(hn::Sub(hn::Add(magnitude, shift), shift), x);
}

HWY_INLINE FloatVector to_f16(FloatVector x) {
  return rounded<10, -14>(x, 65504.0F);
}

/// Lanes of least and greatest.
struct Extremes {
  FloatVector low, high;
};

HWY_INLINE Extremes extremes(const float* in, int64_t size) {
  const Floats d;
  const int64_t n = lanes();
  Extremes a{set(in[0]), set(in[0])}, b = a;
  int64_t i = 0;
  for (; i + 2 * n <= size; i += 2 * n) {
    const auto x = hn::LoadU(d, in + i), y = hn::LoadU(d, in + i + n);
    a = {hn::Min(a.low, x), hn::Max(a.high, x)};
    b = {hn::Min(b.low, y), hn::Max(b.high, y)};
  }
  for (; i < size; i += n) {
    const auto x = size - i >= n ? hn::LoadU(d, in + i) : load_some(in + i, size - i, in[0]);
    a = {hn::Min(a.low, x), hn::Max(a.high, x)};
  }
  return {hn::Min(a.low, b.low), hn::Max(a.high, b.high)};
}

HWY_INLINE Range reduced(const Extremes& lanes_of) {
  const Floats d;
  return {hn::GetLane(hn::MinOfLanes(d, lanes_of.low)), hn::GetLane(hn::MaxOfLanes(d, lanes_of.high))};
}

/// An element on the grid: with scale 0 the quotient may be infinite or NaN; the comparisons make a code of
/// it, and every code restores the zero point.
struct OnGrid {
  FloatVector zero, scale, most;
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const auto whole = set(8388608.0F);  // 2^23: f32 has no fraction from here on
    const auto place = hn::Div(hn::Sub(x, zero), scale);
    const auto above = hn::IfThenElseZero(hn::Gt(place, hn::Zero(Floats())), place);
    const auto code = hn::Sub(hn::Add(hn::Min(above, most), whole), whole);
    return hn::Add(hn::Mul(code, scale), zero);
  }
};

HWY_INLINE OnGrid on_grid(const Grid& grid, int bits) {
  return {set(grid.zero), set(grid.scale), set(static_cast<float>((1 << bits) - 1))};
}

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::compress::row_kernels
HWY_AFTER_NAMESPACE();

#endif
