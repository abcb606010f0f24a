// SPDX-License-Identifier: MIT
#include "kvviz/kernels/few_rows_simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/few_rows_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvviz/kernels/halves-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace {

// R rows of x against C rows of W that are `apart` rows from each other: R * C sums in registers, every
// vector of W loaded once.
template <class Weights, int R, int C>
HWY_INLINE void block(const FewRowsProduct& p, int64_t row, int64_t column, int64_t apart) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* const x = p.x + row * p.in;
  const auto* const w = static_cast<const typename Weights::Stored*>(p.w) + column * p.w_stride;
  const int64_t step = apart * p.w_stride;
  hn::Vec<decltype(d)> sum[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sum[r][c] = hn::Zero(d);
  }
  int64_t k = 0;
  for (; k + lanes <= p.in; k += lanes) {
    hn::Vec<decltype(d)> a[R];
    for (int r = 0; r < R; ++r) a[r] = hn::LoadU(d, x + r * p.in + k);
    for (int c = 0; c < C; ++c) {
      const auto b = Weights::load(d, w + c * step + k);
      for (int r = 0; r < R; ++r) sum[r][c] = hn::MulAdd(a[r], b, sum[r][c]);
    }
  }
  for (int c = 0; c < C; ++c) {
    const int64_t o = column + c * apart;
    for (int r = 0; r < R; ++r) {
      float total = hn::GetLane(hn::SumOfLanes(d, sum[r][c]));
      for (int64_t i = k; i < p.in; ++i) total += x[r * p.in + i] * Weights::value(w[c * step + i]);
      p.y[(row + r) * p.y_stride + o] = total + (p.b != nullptr ? p.b[o] : 0.0F);
    }
  }
}

// Rows of W far from each other are that many streams to the hardware's prefetcher; neighbours, which may
// share a page, are half as fast as one stream. (So are reads behind prefetch instructions of our own.)
template <class Weights, int R>
HWY_INLINE void rows_block(const FewRowsProduct& p, int64_t row) {
  constexpr int C = R == 1 ? 8 : 4;
  const int64_t apart = p.out / C;
  for (int64_t column = 0; column < apart; ++column) block<Weights, R, C>(p, row, column, apart);
  for (int64_t column = apart * C; column < p.out; ++column) block<Weights, R, 1>(p, row, column, 0);
}

template <class Weights>
void all_rows(const FewRowsProduct& p) {
  int64_t row = 0;
  for (; row + 4 <= p.rows; row += 4) rows_block<Weights, 4>(p, row);
  switch (p.rows - row) {
    case 3:
      return rows_block<Weights, 3>(p, row);
    case 2:
      return rows_block<Weights, 2>(p, row);
    case 1:
      return rows_block<Weights, 1>(p, row);
    default:
      return;
  }
}

void product(const FewRowsProduct& p) {
  switch (p.type) {
    case WeightType::f32:
      return all_rows<F32Weights>(p);
    case WeightType::bf16:
      return all_rows<Bf16Weights>(p);
    case WeightType::f16:
      return all_rows<F16Weights>(p);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::kernels {

HWY_EXPORT(product);
void few_rows_product(const FewRowsProduct& p) {
  HWY_DYNAMIC_DISPATCH(product)(p);
}

}  // namespace kvviz::kernels
#endif
