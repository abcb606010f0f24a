// SPDX-License-Identifier: MIT
#include "kvviz/eval/divergence.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/eval/divergence.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace kvviz {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

double divergence_of_rows(const NormalisedRow& p, const NormalisedRow& q, int64_t columns) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto log_zp = hn::Set(d, p.log_z), log_zq = hn::Set(d, q.log_z);
  auto sum = hn::Zero(d);
  int64_t j = 0;
  for (; j + lanes <= columns; j += lanes) {
    const auto log_p = hn::Sub(hn::PromoteTo(d, hn::LoadU(half, p.logits + j)), log_zp);
    const auto log_q = hn::Sub(hn::PromoteTo(d, hn::LoadU(half, q.logits + j)), log_zq);
    const auto weight = hn::Exp(d, log_p);
    const auto first_order = hn::Sub(hn::Exp(d, log_q), weight);
    sum = hn::Add(sum, hn::MulAdd(weight, hn::Sub(log_p, log_q), first_order));
  }
  double total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; j < columns; ++j) {
    const double log_p = static_cast<double>(p.logits[j]) - p.log_z;
    const double log_q = static_cast<double>(q.logits[j]) - q.log_z;
    const double weight = std::exp(log_p);
    total += weight * (log_p - log_q) + (std::exp(log_q) - weight);
  }
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvviz
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz {

HWY_EXPORT(divergence_of_rows);

double divergence(const NormalisedRow& p, const NormalisedRow& q, int64_t columns) {
  // Rounding can leave the sum of near-equal rows below 0 by 1e-16; NaN stays.
  return std::max(HWY_DYNAMIC_DISPATCH(divergence_of_rows)(p, q, columns), 0.0);
}

}  // namespace kvviz
#endif
