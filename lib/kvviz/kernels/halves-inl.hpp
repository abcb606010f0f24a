// SPDX-License-Identifier: MIT
// Vectors of f32 from weights of any type, compiled once per instruction set.
#if defined(KVVIZ_KERNELS_HALVES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef KVVIZ_KERNELS_HALVES_INL_HPP
#undef KVVIZ_KERNELS_HALVES_INL_HPP
#else
#define KVVIZ_KERNELS_HALVES_INL_HPP
#endif

#include <hwy/highway.h>

#include <bit>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// f32, bf16 and f16 as an element in memory, its value, and a vector of values.
struct F32Weights {
  using Stored = float;
  static HWY_INLINE float value(float x) { return x; }
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const float* from) {
    return hn::LoadU(d, from);
  }
};

struct Bf16Weights {
  using Stored = uint16_t;
  static HWY_INLINE float value(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const uint16_t* from) {
    const hn::RebindToUnsigned<D> bits;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(hn::Rebind<uint16_t, D>(), from))));
  }
};

struct F16Weights {
  using Stored = uint16_t;
  // Exponent and mantissa moved to where f32 has them are the number times 2^-112; subnormals too.
  static HWY_INLINE float value(uint16_t x) {
    const uint32_t magnitude = uint32_t{x} & 0x7fff;
    const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
    const uint32_t bits = std::bit_cast<uint32_t>(scaled) | (magnitude >= 0x7c00 ? 0x7f800000U : 0U);
    return std::bit_cast<float>(bits | (uint32_t{x} & 0x8000) << 16);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const uint16_t* from) {
#if HWY_TARGET <= HWY_AVX2 || HWY_ARCH_ARM_A64
    const hn::Rebind<hwy::float16_t, D> dh;
    return hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(hn::Rebind<uint16_t, D>(), from)));
#else
    const hn::RebindToUnsigned<D> du;
    const auto x = hn::PromoteTo(du, hn::LoadU(hn::Rebind<uint16_t, D>(), from));
    const auto magnitude = hn::ShiftLeft<13>(hn::And(x, hn::Set(du, 0x7fff)));
    const auto scaled = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112F));
    const auto beyond = hn::Gt(hn::BitCast(d, magnitude), hn::BitCast(d, hn::Set(du, 0x0f7fffff)));
    const auto infinite = hn::IfThenElseZero(beyond, hn::BitCast(d, hn::Set(du, 0x7f800000)));
    const auto sign = hn::BitCast(d, hn::ShiftLeft<16>(hn::And(x, hn::Set(du, 0x8000))));
    return hn::Or(hn::Or(scaled, infinite), sign);
#endif
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#endif
