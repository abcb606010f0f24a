// SPDX-License-Identifier: MIT
#include "kvviz/compress/row_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/compress/hadamard_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kvviz/compress/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::compress::row_kernels {
namespace HWY_NAMESPACE {
namespace {

// H_d is a product of log2(d) factors, one for each bit of a channel's index: a, b -> a + b, a - b for the
// channels that differ in it. They are taken from the lowest bit up, so that all widths of vectors give the
// same bits.

constexpr int64_t most_lanes = static_cast<int64_t>(hn::MaxLanes(Floats()));

#if HWY_TARGET != HWY_SCALAR
/// The lanes whose indices differ in the bit `Half` change places.
template <int64_t Half>
HWY_INLINE FloatVector swapped(FloatVector x) {
  if constexpr (Half == 1) {
    return hn::Shuffle2301(x);
  } else if constexpr (Half == 2) {
    return hn::Shuffle1032(x);
  } else if constexpr (Half == 4) {
    return hn::SwapAdjacentBlocks(x);
  } else {
    static_assert(Half == 8 && most_lanes <= 16);
    return hn::SwapAdjacentBlocks(hn::ReverseBlocks(Floats(), x));
  }
}

#endif

/// The factor of the bit `Half` within a vector, and those above it as far as rows of `channels` have them.
template <int64_t Half>
HWY_INLINE FloatVector within(FloatVector x, int64_t channels) {
  if constexpr (Half < most_lanes) {
    if (Half >= channels) return x;
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    const auto upper = hn::Ne(hn::And(hn::Iota(di, 0), hn::Set(di, Half)), hn::Zero(di));
    const auto sign = hn::IfThenElse(hn::RebindMask(d, upper), set(-1), set(1));
    // The product is exact, so that fusing it changes nothing.
    return within<2 * Half>(hn::MulAdd(x, sign, swapped<Half>(x)), channels);
  } else {
    return x;
  }
}

/// N vectors beside each other: all factors within them, times `norm`.
template <int64_t N>
HWY_INLINE void turn(const float* in, float* out, int64_t channels, FloatVector norm) {
  const Floats d;
  const int64_t n = lanes();
  FloatVector x[N];
  for (int64_t v = 0; v < N; ++v) x[v] = within<1>(hn::LoadU(d, in + v * n), N > 1 ? most_lanes : channels);
  for (int64_t half = 1; half < N; half *= 2) {
    for (int64_t v = 0; v < N; ++v) {
      if ((v & half) != 0) continue;
      const auto a = x[v], b = x[v + half];
      x[v] = hn::Add(a, b);
      x[v + half] = hn::Sub(a, b);
    }
  }
  for (int64_t v = 0; v < N; ++v) hn::StoreU(hn::Mul(x[v], norm), d, out + v * n);
}

template <int64_t N>
void turn_rows(const Rows& rows, FloatVector norm) {
  const int64_t step = N * lanes();
  for (int64_t i = 0; i < rows.size(); i += step) turn<N>(rows.in + i, rows.out + i, rows.channels, norm);
}

constexpr int64_t most_vectors = 16;

/// Rows wider than that: pieces first, then the factors between pieces.
void turn_wide(const Rows& rows, FloatVector norm) {
  const Floats d;
  const int64_t n = lanes(), piece = most_vectors * n;
  for (int64_t t = 0; t < rows.tokens; ++t) {
    float* const out = rows.out + t * rows.channels;
    for (int64_t c = 0; c < rows.channels; c += piece)
      turn<most_vectors>(rows.in + t * rows.channels + c, out + c, rows.channels, set(1));
    for (int64_t half = piece; half < rows.channels; half *= 2) {
      for (int64_t first = 0; first < rows.channels; first += 2 * half) {
        for (int64_t c = first; c < first + half; c += n) {
          const auto a = hn::LoadU(d, out + c), b = hn::LoadU(d, out + c + half);
          hn::StoreU(hn::Add(a, b), d, out + c);
          hn::StoreU(hn::Sub(a, b), d, out + c + half);
        }
      }
    }
    for (int64_t c = 0; c < rows.channels; c += n)
      hn::StoreU(hn::Mul(hn::LoadU(d, out + c), norm), d, out + c);
  }
}

/// Several rows in a vector; the last one may be filled up.
void turn_narrow(const Rows& rows, FloatVector norm) {
  const int64_t n = lanes(), whole = rows.size() / n * n, rest = rows.size() - whole;
  turn_rows<1>({rows.in, rows.out, whole / rows.channels, rows.channels}, norm);
  if (rest == 0) return;
  const auto last = within<1>(load_some(rows.in + whole, rest, 0), rows.channels);
  store_some(hn::Mul(last, norm), rows.out + whole, rest);
}

void hadamard(const Rows& rows) {
  const auto norm = set(static_cast<float>(1 / std::sqrt(static_cast<double>(rows.channels))));
  switch (rows.channels / lanes()) {
    case 0:
      return turn_narrow(rows, norm);
    case 1:
      return turn_rows<1>(rows, norm);
    case 2:
      return turn_rows<2>(rows, norm);
    case 4:
      return turn_rows<4>(rows, norm);
    case 8:
      return turn_rows<8>(rows, norm);
    case 16:
      return turn_rows<16>(rows, norm);
    default:
      return turn_wide(rows, norm);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::compress::row_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::compress::row_kernels {

HWY_EXPORT(hadamard);
void hadamard(const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(hadamard)(rows);
}

}  // namespace kvviz::compress::row_kernels
#endif
