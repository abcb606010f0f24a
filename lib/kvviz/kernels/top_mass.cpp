// SPDX-License-Identifier: MIT
#include "kvviz/kernels/top_mass.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

namespace kvviz::kernels {
namespace {

// Floats >= 0 order like their bits: a bucket is the 8 bits of the exponent and the first 5 of the mantissa.
constexpr uint32_t bucket_of(float weight) {
  return std::bit_cast<uint32_t>(weight) >> 18;
}

}  // namespace

void TopMass::add(std::span<const float> weights, double factor, std::span<double> top) {
  if (std::isnan(factor)) {
    std::fill(top.begin(), top.end(), std::numeric_limits<double>::quiet_NaN());
    return;
  }
  buckets_.resize(bucket_of(1.0F) + 1);
  for (const float weight : weights) {
    Bucket& bucket = buckets_[bucket_of(weight)];
    bucket.sum += static_cast<double>(weight);
    ++bucket.count;
  }

  const auto wanted = [&](size_t b) { return std::min(size_t{1} << b, weights.size()); };
  size_t seen = 0;
  for (size_t index = buckets_.size(), b = 0; b < counts && index-- > 0;) {
    Bucket& bucket = buckets_[index];
    seen += bucket.count;
    for (; b < counts && wanted(b) <= seen; ++b) bucket.cut |= wanted(b) < seen;
  }

  in_cut_buckets_.clear();
  for (const float weight : weights) {
    if (buckets_[bucket_of(weight)].cut) in_cut_buckets_.push_back(std::bit_cast<uint32_t>(weight));
  }
  std::sort(in_cut_buckets_.begin(), in_cut_buckets_.end(), std::greater<>());

  double sum = 0;
  seen = 0;
  size_t sorted = 0;
  for (size_t index = buckets_.size(), b = 0; b < counts && index-- > 0;) {
    Bucket& bucket = buckets_[index];
    if (!bucket.cut) {
      sum += bucket.sum;
      seen += bucket.count;
      for (; b < counts && wanted(b) == seen; ++b) top[b] += factor * sum;
      continue;
    }
    for (uint32_t i = 0; i < bucket.count; ++i) {
      sum += static_cast<double>(std::bit_cast<float>(in_cut_buckets_[sorted++]));
      ++seen;
      for (; b < counts && wanted(b) == seen; ++b) top[b] += factor * sum;
    }
  }
  for (const float weight : weights) buckets_[bucket_of(weight)] = {};
}

}  // namespace kvviz::kernels
