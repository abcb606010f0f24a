// SPDX-License-Identifier: MIT
// The passes over rows and columns of attention weights, compiled once per instruction set.
#if defined(KVVIZ_KERNELS_SOFTMAX_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef KVVIZ_KERNELS_SOFTMAX_INL_HPP
#undef KVVIZ_KERNELS_SOFTMAX_INL_HPP
#else
#define KVVIZ_KERNELS_SOFTMAX_INL_HPP
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kvviz/kernels/attention_simd.hpp"
#include "kvviz/kernels/products-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float log_of_small = -4.605170186F;  // ln 0.01
constexpr float lowest_exponent = -87.0F;      // e^-87 is still a normal float
constexpr int64_t lane_sum_columns = 1024;     // f32 sums end here and go on in f64

// e^x for x in [lowest_exponent, 0], relative error below 4e-7; NaN stays. x = n ln 2 + r: adding 1.5 * 2^23
// + 127 rounds to n and leaves the biased exponent of 2^n in the low bits; ln 2 is split so that n times its
// first part is exact also without a fused multiply-add; minimax polynomial of e^r on |r| <= ln 2 / 2.
HWY_INLINE FloatVector exp_nonpositive(FloatVector x) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const auto magic = hn::Set(d, 12583039.0F), one = hn::Set(d, 1.0F);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504F), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x));
  auto p = hn::MulAdd(hn::Set(d, 8.312501289e-3F), r, hn::Set(d, 4.189033157e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.666711539e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.999923031e-1F));
  p = hn::MulAdd(p, r, one);
  p = hn::MulAdd(p, r, one);
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

// The larger of x and low; NaN stays. A lone maximum keeps it on x86 (second operand) and NEON (any operand).
HWY_INLINE FloatVector at_least(FloatVector x, FloatVector low) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Lt(x, low), low, x);
#else
  return hn::Max(low, x);
#endif
}

HWY_INLINE float row_maximum(const float* row, int64_t begin, int64_t end) {
  const Floats d;
  const int64_t n = lanes();
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  int64_t c = begin;
  for (; c + 4 * n <= end; c += 4 * n) {
    m0 = hn::Max(m0, hn::Load(d, row + c));
    m1 = hn::Max(m1, hn::Load(d, row + c + n));
    m2 = hn::Max(m2, hn::Load(d, row + c + 2 * n));
    m3 = hn::Max(m3, hn::Load(d, row + c + 3 * n));
  }
  for (; c < end; c += n) m0 = hn::Max(m0, hn::Load(d, row + c));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))));
}

// Adds one piece of a row, at most lane_sum_columns wide, to the row's sums. Before each step the lanes'
// weights so far are added to `back`: a weight is counted once for every vector that follows it, which makes
// the sum of e times its distance from the piece's last vector without a product.
template <bool all_sums>
HWY_INLINE void exponentials(float* row, Span piece, float maximum, int64_t row_end, RowSums& sums) {
  const Floats d;
  const int64_t n = lanes();
  const auto top = hn::Set(d, maximum);
  const auto lowest = hn::Set(d, lowest_exponent), threshold = hn::Set(d, log_of_small);
  auto weight = hn::Zero(d), log = hn::Zero(d), back = hn::Zero(d);
  size_t small = 0;
  for (int64_t c = piece.begin; c < piece.end; c += n) {
    const auto x = at_least(hn::Sub(hn::Load(d, row + c), top), lowest);
    const auto e = exp_nonpositive(x);
    hn::Store(e, d, row + c);
    if constexpr (all_sums) {
      log = hn::MulAdd(e, x, log);
      back = hn::Add(back, weight);
      small += hn::CountTrue(d, hn::Lt(x, threshold));
    }
    weight = hn::Add(weight, e);
  }
  const double piece_weight = hn::GetLane(hn::SumOfLanes(d, weight));
  sums.weight += piece_weight;
  if constexpr (all_sums) {
    const double vectors_back = hn::GetLane(hn::SumOfLanes(d, back));
    const double lanes_in = hn::GetLane(hn::SumOfLanes(d, hn::Mul(weight, hn::Iota(d, 0.0F))));
    sums.log += hn::GetLane(hn::SumOfLanes(d, log));
    sums.distance += static_cast<double>(n) * vectors_back - lanes_in +
                     piece_weight * static_cast<double>(row_end - 1 - (piece.end - n));
    sums.small += static_cast<int64_t>(small);
  }
}

template <bool all_sums>
void softmax_rows(const Strip& strip, RowSums* sums) {
  const int64_t n = lanes();
  const int64_t width = strip.visible[strip.rows - 1].end;
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  for (int64_t r = 0; r < strip.rows; ++r) {
    float* const row = strip.data + r * strip.stride;
    const auto [begin, end] = strip.visible[r];
    // Whole vectors, with the unseen lanes at -inf: they count as small and weigh nothing (e^-87).
    const int64_t first = begin / n * n, last = (end + n - 1) / n * n;
    std::fill(row + first, row + begin, hidden);
    std::fill(row + end, row + last, hidden);
    const float maximum = row_maximum(row, first, last);
    RowSums& sum = sums[r] = RowSums{};
    for (int64_t c = first; c < last; c += lane_sum_columns) {
      exponentials<all_sums>(row, {c, std::min(c + lane_sum_columns, last)}, maximum, end, sum);
    }
    if (all_sums) sum.small -= (begin - first) + (last - end);
    std::fill(row, row + begin, 0.0F);
    std::fill(row + end, row + std::max(width, last), 0.0F);
  }
}

inline void softmax(const Strip& strip, RowSums* sums, bool all_sums) {
  all_sums ? softmax_rows<true>(strip, sums) : softmax_rows<false>(strip, sums);
}

inline void add_distances(const Strip& strip, const DistanceBias& bias) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const int64_t n = lanes();
  for (int64_t r = 0; r < strip.rows; ++r) {
    float* const row = strip.data + r * strip.stride;
    const auto slope = hn::Set(d, bias.slope[r]);
    const auto query = hn::Set(di, bias.query[r]);
    for (int64_t c = strip.visible[r].begin / n * n; c < strip.visible[r].end; c += n) {
      const auto distance = hn::ConvertTo(d, hn::Sub(hn::LoadU(di, bias.key + c), query));
      hn::Store(hn::MulAdd(slope, distance, hn::Load(d, row + c)), d, row + c);
    }
  }
}

inline void softcap(const Strip& strip, float cap) {
  const Floats d;
  const int64_t n = lanes();
  const auto scale = hn::Set(d, cap), inverse = hn::Set(d, 1.0F / cap);
  for (int64_t r = 0; r < strip.rows; ++r) {
    float* const row = strip.data + r * strip.stride;
    for (int64_t c = strip.visible[r].begin / n * n; c < strip.visible[r].end; c += n) {
      hn::Store(hn::Mul(scale, hn::Tanh(d, hn::Mul(hn::Load(d, row + c), inverse))), d, row + c);
    }
  }
}

inline void column_sums(const Strip& strip, Span rows, Span columns, const float* factor, float* sums) {
  const Floats d;
  const int64_t n = lanes(), count = columns.end - columns.begin;
  std::fill(sums, sums + (count + n - 1) / n * n, 0.0F);
  int64_t r = rows.begin;
  // Four rows per pass: the sums are loaded and stored once for four products.
  for (; r + 4 <= rows.end; r += 4) {
    const float* const row = strip.data + r * strip.stride + columns.begin;
    const auto f0 = hn::Set(d, factor[r]), f1 = hn::Set(d, factor[r + 1]);
    const auto f2 = hn::Set(d, factor[r + 2]), f3 = hn::Set(d, factor[r + 3]);
    for (int64_t c = 0; c < count; c += n) {
      auto sum = hn::MulAdd(f0, hn::Load(d, row + c), hn::Load(d, sums + c));
      sum = hn::MulAdd(f1, hn::Load(d, row + strip.stride + c), sum);
      sum = hn::MulAdd(f2, hn::Load(d, row + 2 * strip.stride + c), sum);
      sum = hn::MulAdd(f3, hn::Load(d, row + 3 * strip.stride + c), sum);
      hn::Store(sum, d, sums + c);
    }
  }
  for (; r < rows.end; ++r) {
    const float* const row = strip.data + r * strip.stride + columns.begin;
    const auto f = hn::Set(d, factor[r]);
    for (int64_t c = 0; c < count; c += n) {
      hn::Store(hn::MulAdd(f, hn::Load(d, row + c), hn::Load(d, sums + c)), d, sums + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#endif
