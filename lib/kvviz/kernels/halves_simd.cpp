// SPDX-License-Identifier: MIT
#include "kvviz/kernels/halves_simd.hpp"

#include <bit>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/halves_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvviz/kernels/halves-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace {

uint16_t nearest_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void to_bf16(const float* x, int64_t size, uint16_t* out) {
  const hn::ScalableTag<uint32_t> d;
  const hn::Rebind<uint16_t, decltype(d)> dh;
  const hn::Rebind<float, decltype(d)> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto one = hn::Set(d, 1), half = hn::Set(d, 0x7fff), quiet = hn::Set(d, 0x40);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto value = hn::LoadU(df, x + i);
    const auto bits = hn::BitCast(d, value);
    const auto high = hn::ShiftRight<16>(bits);
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(half, hn::And(high, one))));
    const auto is_number = hn::RebindMask(d, hn::Eq(value, value));
    hn::StoreU(hn::TruncateTo(dh, hn::IfThenElse(is_number, rounded, hn::Or(high, quiet))), dh, out + i);
  }
  for (; i < size; ++i) out[i] = nearest_bf16(x[i]);
}

template <class Weights>
void widen_rows(const WidenedRows& p) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < p.rows; ++r) {
    const auto* const from = static_cast<const typename Weights::Stored*>(p.w) + r * p.stride;
    float* const to = p.out + r * p.columns;
    int64_t c = 0;
    for (; c + lanes <= p.columns; c += lanes) hn::StoreU(Weights::load(d, from + c), d, to + c);
    for (; c < p.columns; ++c) to[c] = Weights::value(from[c]);
  }
}

void widen_any(const WidenedRows& p) {
  switch (p.type) {
    case WeightType::f32:
      return widen_rows<F32Weights>(p);
    case WeightType::bf16:
      return widen_rows<Bf16Weights>(p);
    case WeightType::f16:
      return widen_rows<F16Weights>(p);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::kernels {

HWY_EXPORT(to_bf16);
void round_to_bf16(const float* x, int64_t size, uint16_t* out) {
  HWY_DYNAMIC_DISPATCH(to_bf16)(x, size, out);
}

HWY_EXPORT(widen_any);
void widen(const WidenedRows& rows) {
  HWY_DYNAMIC_DISPATCH(widen_any)(rows);
}

}  // namespace kvviz::kernels
#endif
