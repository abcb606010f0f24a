// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "kvviz/analysis/legacy.hpp"
#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/stats/spectrum.hpp"

namespace kvviz::analysis {

/// Keys or values of one layer as dense f32 [heads, tokens, dim]; owns the widened copy, if there is one.
struct HalfData {
  at::Tensor owner;
  const float* data = nullptr;
  int64_t heads = 0, tokens = 0, dim = 0;

  std::span<const float> elements() const { return {data, static_cast<size_t>(heads * tokens * dim)}; }
  stats::MatrixView head(int64_t h) const { return {data + h * tokens * dim, tokens, dim}; }
  std::span<const float> head_elements(int64_t h) const {
    return {data + h * tokens * dim, static_cast<size_t>(tokens * dim)};
  }
  std::span<const float> row(int64_t h, int64_t token) const {
    return {data + (h * tokens + token) * dim, static_cast<size_t>(dim)};
  }
};

struct LayerData {
  HalfData key, value;
  const HalfData& half(Half which) const { return which == Half::key ? key : value; }
};

/// Analyses hold one layer at a time: extra memory is at most one layer in f32.
LayerData load(const LayerKv& layer);

/// The largest number of tokens of a layer. Throws DataError for a cache without layers.
int64_t token_count(const KvView& cache);

/// The given thresholds, or those of the cache.
template <class Options>
LegacyThresholds thresholds_of(const KvView& cache, const Options& options) {
  return options.thresholds ? *options.thresholds : legacy_thresholds(cache, options.legacy);
}

}  // namespace kvviz::analysis
