// SPDX-License-Identifier: MIT
#include "kvviz/kernels/few_rows_simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/few_rows_simd.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t prefetch_floats = 512;  // ahead of the reads: the hardware's prefetcher stops at page ends

// R rows of x against C rows of W: R * C sums in registers, every vector of W loaded once.
template <int R, int C>
HWY_INLINE void block(const FewRowsProduct& p, int64_t row, int64_t column) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* const x = p.x + row * p.in;
  const float* const w = p.w + column * p.w_stride;
  hn::Vec<decltype(d)> sum[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sum[r][c] = hn::Zero(d);
  }
  int64_t k = 0;
  for (; k + lanes <= p.in; k += lanes) {
    hn::Vec<decltype(d)> a[R];
    for (int r = 0; r < R; ++r) a[r] = hn::LoadU(d, x + r * p.in + k);
    for (int c = 0; c < C; ++c) {
      hwy::Prefetch(w + c * p.w_stride + k + prefetch_floats);
      const auto b = hn::LoadU(d, w + c * p.w_stride + k);
      for (int r = 0; r < R; ++r) sum[r][c] = hn::MulAdd(a[r], b, sum[r][c]);
    }
  }
  for (int c = 0; c < C; ++c) {
    for (int r = 0; r < R; ++r) {
      float total = hn::GetLane(hn::SumOfLanes(d, sum[r][c]));
      for (int64_t i = k; i < p.in; ++i) total += x[r * p.in + i] * w[c * p.w_stride + i];
      p.y[(row + r) * p.y_stride + column + c] = total + (p.b != nullptr ? p.b[column + c] : 0.0F);
    }
  }
}

template <int R>
HWY_INLINE void rows_block(const FewRowsProduct& p, int64_t row) {
  constexpr int C = R == 1 ? 8 : 4;
  int64_t column = 0;
  for (; column + C <= p.out; column += C) block<R, C>(p, row, column);
  for (; column < p.out; ++column) block<R, 1>(p, row, column);
}

void product(const FewRowsProduct& p) {
  int64_t row = 0;
  for (; row + 4 <= p.rows; row += 4) rows_block<4>(p, row);
  switch (p.rows - row) {
    case 3:
      return rows_block<3>(p, row);
    case 2:
      return rows_block<2>(p, row);
    case 1:
      return rows_block<1>(p, row);
    default:
      return;
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
