// SPDX-License-Identifier: MIT
#include "kvviz/compress/row_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/compress/row_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kvviz/compress/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::compress::row_kernels {
namespace HWY_NAMESPACE {
namespace {

struct F16 {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return to_f16(x); }
};

struct Bf16 {
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    const auto bits = hn::BitCast(di, hn::Abs(x));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
    const auto rounded_up = hn::Add(hn::Add(bits, hn::Set(di, 0x7fff)), odd);
    const auto kept = hn::Min(hn::And(rounded_up, hn::Set(di, 0x7fff0000)), hn::Set(di, 0x7f7f0000));
    return hn::CopySignToAbs(hn::BitCast(d, kept), x);
  }
};

struct ScaledE4m3 {
  FloatVector scale;
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    return hn::Mul(rounded<3, -6>(hn::Div(x, scale), 448.0F), scale);
  }
};

void round_to_f16(const Rows& rows) {
  map(rows.in, rows.out, rows.size(), F16());
}

void round_to_bf16(const Rows& rows) {
  map(rows.in, rows.out, rows.size(), Bf16());
}

void scale_to_e4m3(const Rows& rows, float scale) {
  map(rows.in, rows.out, rows.size(), ScaledE4m3{set(scale)});
}

Range range(const Rows& rows) {
  return reduced(extremes(rows.in, rows.size()));
}

float largest_magnitude(const Rows& rows) {
  if (rows.size() == 0) return 0;
  const Range r = range(rows);
  return std::max(std::fabs(r.low), std::fabs(r.high));
}

void quantise_on(const Rows& rows, const Grid& grid, int bits) {
  map(rows.in, rows.out, rows.size(), on_grid(grid, bits));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::compress::row_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::compress::row_kernels {

HWY_EXPORT(round_to_f16);
HWY_EXPORT(round_to_bf16);
HWY_EXPORT(scale_to_e4m3);
HWY_EXPORT(range);
HWY_EXPORT(largest_magnitude);
HWY_EXPORT(quantise_on);

void round_to_f16(const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(round_to_f16)(rows);
}

void round_to_bf16(const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(round_to_bf16)(rows);
}

void scale_to_e4m3(const Rows& rows, float scale) {
  HWY_DYNAMIC_DISPATCH(scale_to_e4m3)(rows, scale);
}

Range range(const Rows& rows) {
  return HWY_DYNAMIC_DISPATCH(range)(rows);
}

float largest_magnitude(const Rows& rows) {
  return HWY_DYNAMIC_DISPATCH(largest_magnitude)(rows);
}

void quantise_on(const Rows& rows, const Grid& grid, int bits) {
  HWY_DYNAMIC_DISPATCH(quantise_on)(rows, grid, bits);
}

}  // namespace kvviz::compress::row_kernels
#endif
