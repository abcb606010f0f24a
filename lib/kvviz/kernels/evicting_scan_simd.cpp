// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_simd.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/evicting_scan_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvviz/kernels/products-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Singles = hn::ScalableTag<float>;
using Doubles = hn::ScalableTag<double>;

template <bool maximum>
void aggregate_rows(const StepWeights& weights, int64_t columns, float factor, float* out) {
  const Singles d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, factor);
  for (int64_t c = 0; c < columns; c += n) {
    auto all = hn::Zero(d);
    for (int64_t h = 0; h < weights.heads; ++h) {
      const auto inverse = hn::Set(d, weights.inverse[h]);
      const auto weight = hn::Mul(hn::Load(d, weights.rows + h * weights.stride + c), inverse);
      all = maximum ? hn::Max(all, weight) : hn::Add(all, weight);
    }
    hn::Store(maximum ? all : hn::Mul(all, scale), d, out + c);
  }
}

void aggregate(const StepWeights& weights, int64_t columns, Aggregate how, float* out) {
  if (how == Aggregate::max) return aggregate_rows<true>(weights, columns, 1, out);
  aggregate_rows<false>(weights, columns, 1 / static_cast<float>(weights.heads), out);
}

void add(const float* weight, int64_t columns, double* score) {
  const Doubles d;
  const hn::Rebind<float, Doubles> df;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < columns; c += n) {
    hn::Store(hn::Add(hn::Load(d, score + c), hn::PromoteTo(d, hn::Load(df, weight + c))), d, score + c);
  }
}

int64_t lowest(const double* score, const double* position, int64_t columns, double begin, double end) {
  const Doubles d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto first = hn::Set(d, begin), last = hn::Set(d, end);
  const auto infinity = hn::Set(d, std::numeric_limits<double>::infinity());
  // Two vectors at a time: the loop is a chain of minima.
  auto least = infinity, other = infinity;
  const auto candidate = [&](int64_t c) HWY_ATTR {
    const auto p = hn::Load(d, position + c), s = hn::Load(d, score + c);
    const auto ok = hn::And(hn::And(hn::Ge(p, first), hn::Lt(p, last)), hn::Lt(s, infinity));
    return hn::IfThenElse(ok, s, infinity);
  };
  int64_t c = 0;
  for (; c + 2 * n <= columns; c += 2 * n) {
    least = hn::Min(least, candidate(c));
    other = hn::Min(other, candidate(c + n));
  }
  for (; c < columns; c += n) least = hn::Min(least, candidate(c));
  const double value = hn::GetLane(hn::MinOfLanes(d, hn::Min(least, other)));

  int64_t found = -1;
  const auto consider = [&](int64_t column) {
    if (found < 0 || position[column] < position[found]) found = column;
  };
  const auto wanted = hn::Set(d, value);
  for (int64_t i = 0; i < columns && value < std::numeric_limits<double>::infinity(); i += n) {
    if (hn::AllFalse(d, hn::Eq(hn::Load(d, score + i), wanted))) continue;
    for (int64_t j = i; j < std::min(i + n, columns); ++j) {
      if (score[j] == value && position[j] >= begin && position[j] < end) consider(j);
    }
  }
  if (found >= 0) return found;
  for (int64_t j = 0; j < columns; ++j) {  // only NaN and infinity are left
    if (position[j] >= begin && position[j] < end) consider(j);
  }
  return found;
}

HeldWeights held(const HeldProduct& p) {
  const Doubles d;
  const hn::Rebind<float, Doubles> df;
  const hn::Rebind<int32_t, Doubles> di;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto demand = hn::Set(df, p.demand), one = hn::Set(df, 1.0F);
  auto mass = hn::Zero(d);
  auto demands = hn::Zero(df), hits = hn::Zero(df);
  for (int64_t key = 0; key < p.keys; key += n) {
    const auto weight = hn::Load(df, p.weights + key);
    const auto is_held = hn::RebindMask(df, hn::Gt(hn::Load(di, p.column_of + key), hn::Set(di, -1)));
    const auto is_demand = hn::Ge(weight, demand);
    mass = hn::Add(mass, hn::PromoteTo(d, hn::IfThenElseZero(is_held, weight)));
    demands = hn::Add(demands, hn::IfThenElseZero(is_demand, one));
    hits = hn::Add(hits, hn::IfThenElseZero(hn::And(is_demand, is_held), one));
  }
  return {.mass = hn::GetLane(hn::SumOfLanes(d, mass)),
          .demands = static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(df, demands))),
          .hits = static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(df, hits)))};
}

int64_t count_above(const float* values, int64_t size, float threshold) {
  const Singles d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto least = hn::Set(d, threshold), one = hn::Set(d, 1.0F);
  auto some = hn::Zero(d), others = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * n <= size; i += 2 * n) {
    some = hn::Add(some, hn::IfThenElseZero(hn::Gt(hn::Load(d, values + i), least), one));
    others = hn::Add(others, hn::IfThenElseZero(hn::Gt(hn::Load(d, values + i + n), least), one));
  }
  for (; i < size; i += n)
    some = hn::Add(some, hn::IfThenElseZero(hn::Gt(hn::Load(d, values + i), least), one));
  return static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(d, hn::Add(some, others))));
}

double sum_above(const float* values, int64_t size, float threshold) {
  const Doubles d;
  const hn::Rebind<float, Doubles> df;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto least = hn::Set(df, threshold);
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < size; i += n) {
    const auto value = hn::Load(df, values + i);
    sum = hn::Add(sum, hn::PromoteTo(d, hn::IfThenElseZero(hn::Gt(value, least), value)));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

double largest_sum(const float* values, int64_t size, int64_t count) {
  if (count <= 0) return 0;
  if (count_above(values, size, 0) <= count) return sum_above(values, size, 0);
  // Floats >= 0 order like their bits. More than `count` values are above `low`, no more above `high`.
  uint32_t low = 0, high = std::bit_cast<uint32_t>(1.0F);
  int64_t above = 0;
  while (high - low > 1 && above != count) {
    const uint32_t middle = low + (high - low) / 2;
    const int64_t here = count_above(values, size, std::bit_cast<float>(middle));
    (here > count ? low : high) = middle;
    if (here <= count) above = here;
  }
  // Where the count was not met, the values still wanted equal `high`, the next float above `low`.
  const auto threshold = std::bit_cast<float>(high);
  return sum_above(values, size, threshold) +
         static_cast<double>(count - above) * static_cast<double>(threshold);
}

// The product of a query and a turned key, in lanes that are still to be added up.
HWY_INLINE FloatVector rotated_products(const RotatedProduct& p, int64_t column) {
  const Singles d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const float* const key = p.keys + column * p.stride;
  const float* const cosine = p.cosine + p.rank[column] * p.pairs;
  const float* const sine = p.sine + p.rank[column] * p.pairs;
  auto sum = hn::Zero(d), crossed = hn::Zero(d);
  const auto add_pairs = [&](int64_t c, auto load) HWY_ATTR {
    const auto q0 = load(p.query + c), q1 = load(p.query + p.pairs + c);
    const auto k0 = load(key + c), k1 = load(key + p.pairs + c);
    sum = hn::MulAdd(load(cosine + c), hn::MulAdd(q0, k0, hn::Mul(q1, k1)), sum);
    crossed = hn::MulAdd(load(sine + c), hn::MulSub(q1, k0, hn::Mul(q0, k1)), crossed);
  };
  const auto whole = [&](const float* from) HWY_ATTR { return hn::LoadU(d, from); };
  int64_t c = 0;
  for (; c + n <= p.pairs; c += n) add_pairs(c, whole);
  if (c < p.pairs) add_pairs(c, [&](const float* from) HWY_ATTR { return load_partial(from, p.pairs - c); });
  for (c = 2 * p.pairs; c + n <= p.head_dim; c += n)
    sum = hn::MulAdd(whole(p.query + c), whole(key + c), sum);
  if (c < p.head_dim) {
    sum = hn::MulAdd(load_partial(p.query + c, p.head_dim - c), load_partial(key + c, p.head_dim - c), sum);
  }
  return hn::Add(sum, crossed);
}

// The sums of `lanes` neighbours each, of lanes * lanes numbers, to the front: two or four neighbours at a
// time, for all sums together.
HWY_INLINE void fold_lanes([[maybe_unused]] float* sums) {
  if constexpr (hn::MaxLanes(Singles()) > 1) {
    const Singles d;
    const auto n = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t left = n; left > 1;) {
      const int64_t fold = left % 4 == 0 ? 4 : 2;
      left /= fold;
      for (int64_t i = 0; i < n * left; i += n) {
        auto a = hn::Zero(d), b = a, e = a, f = a;
        if (fold == 4) hn::LoadInterleaved4(d, sums + i * 4, a, b, e, f);
        if (fold == 2) hn::LoadInterleaved2(d, sums + i * 2, a, b);
        hn::Store(hn::Add(hn::Add(a, b), hn::Add(e, f)), d, sums + i);
      }
    }
  }
}

void rotated_logits(const RotatedProduct& p, float* logits) {
  const Singles d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float sums[hn::MaxLanes(d) * hn::MaxLanes(d)] = {};
  for (int64_t column = 0; column < p.columns; column += n) {
    for (int64_t i = 0; i < std::min(n, p.columns - column); ++i)
      hn::Store(rotated_products(p, column + i), d, sums + i * n);
    fold_lanes(sums);
    hn::Store(nan_if_infinite(hn::Load(d, sums)), d, logits + column);
  }
}

const EvictingScanSimd& scan_table() {
  static const EvictingScanSimd kernels{.aggregate = &aggregate,
                                        .add = &add,
                                        .lowest = &lowest,
                                        .held = &held,
                                        .largest_sum = &largest_sum,
                                        .rotated_logits = &rotated_logits};
  return kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::kernels {

HWY_EXPORT(scan_table);
const EvictingScanSimd& evicting_scan_simd() {
  return HWY_DYNAMIC_DISPATCH(scan_table)();
}

}  // namespace kvviz::kernels
#endif
