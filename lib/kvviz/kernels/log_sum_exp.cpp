// SPDX-License-Identifier: MIT
#include "kvviz/kernels/log_sum_exp.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/log_sum_exp.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kvviz/kernels/softmax-inl.hpp"
#include "kvviz/kernels/thread_pool.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace {

struct Piece {
  float maximum = 0;
  double sum = 0;  // of e^(x - maximum)
};

// A last vector of fewer columns than lanes is filled up with -inf; a masked load may read behind the row.
HWY_INLINE FloatVector load(const float* x, int64_t columns) {
  const Floats d;
  if (columns >= lanes()) return hn::LoadU(d, x);
  HWY_ALIGN float tail[hn::MaxLanes(d)];
  std::fill(std::copy_n(x, columns, tail), tail + lanes(), -std::numeric_limits<float>::infinity());
  return hn::Load(d, tail);
}

// Few enough columns to stay in the nearest cache between the two passes.
Piece piece_of(const float* x, int64_t columns) {
  const Floats d;
  const int64_t n = lanes();
  auto largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t c = 0; c < columns; c += n) largest = hn::Max(largest, load(x + c, columns - c));
  // Not -inf, from which -inf cannot be subtracted.
  Piece piece{.maximum =
                  std::max(hn::GetLane(hn::MaxOfLanes(d, largest)), -std::numeric_limits<float>::max())};
  const auto top = hn::Set(d, piece.maximum), lowest = hn::Set(d, lowest_exponent);
  auto sum = hn::Zero(d);
  for (int64_t c = 0; c < columns; c += n) {
    sum = hn::Add(sum, exp_nonpositive(at_least(hn::Sub(load(x + c, columns - c), top), lowest)));
  }
  piece.sum = hn::GetLane(hn::SumOfLanes(d, sum));
  return piece;
}

RowSummary row_summary(const float* x, int64_t columns) {
  Piece all = piece_of(x, std::min(columns, lane_sum_columns));
  for (int64_t c = lane_sum_columns; c < columns; c += lane_sum_columns) {
    const Piece next = piece_of(x + c, std::min(columns - c, lane_sum_columns));
    const float maximum = std::max(all.maximum, next.maximum);
    all.sum = all.sum * std::exp(static_cast<double>(all.maximum - maximum)) +
              next.sum * std::exp(static_cast<double>(next.maximum - maximum));
    all.maximum = maximum;
  }
  return {all.maximum, static_cast<double>(all.maximum) + std::log(all.sum)};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::kernels {

HWY_EXPORT(row_summary);

std::vector<RowSummary> log_sum_exp(const float* x, int64_t rows, int64_t columns) {
  std::vector<RowSummary> summaries(static_cast<size_t>(rows));
  parallel_for(rows, [&](int64_t row) {
    summaries[static_cast<size_t>(row)] = HWY_DYNAMIC_DISPATCH(row_summary)(x + row * columns, columns);
  });
  return summaries;
}

}  // namespace kvviz::kernels
#endif
