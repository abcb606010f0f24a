// SPDX-License-Identifier: MIT
#include "kvviz/analysis/distribution.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/magnitude.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

stats::LeastMagnitude least_of(const HalfData& half) {
  std::vector<stats::LeastMagnitude> parts(half.heads);
  kernels::parallel_for(half.heads,
                        [&](int64_t h) { parts[h] = stats::least_magnitude(half.head_elements(h)); });
  stats::LeastMagnitude least;
  for (const stats::LeastMagnitude& part : parts) {
    least.any = std::min(least.any, part.any);
    least.nonzero = std::min(least.nonzero, part.nonzero);
  }
  return least;
}

struct Ranges {
  stats::LeastMagnitude key, value;
};

Ranges ranges_of(const KvView& cache) {
  const auto merge = [](stats::LeastMagnitude& into, const stats::LeastMagnitude& part) {
    into.any = std::min(into.any, part.any);
    into.nonzero = std::min(into.nonzero, part.nonzero);
  };
  Ranges ranges;
  for (const LayerKv& layer : cache.layers) {
    const LayerData data = load(layer);
    merge(ranges.key, least_of(data.key));
    merge(ranges.value, least_of(data.value));
  }
  return ranges;
}

std::vector<int64_t> positions_of(const std::vector<double>& probabilities, int64_t n) {
  std::vector<int64_t> positions;
  for (const double p : probabilities) {
    // The slack keeps 0.1 x 10 from becoming the second element by rounding.
    const auto rank = static_cast<int64_t>(std::ceil(p * static_cast<double>(n) * (1 - 1e-12)));
    positions.push_back(std::clamp<int64_t>(rank - 1, 0, n - 1));
  }
  return positions;
}

/// The counts of one head, added up afterwards.
struct HeadCounts {
  std::vector<int64_t> log, linear;
  int64_t zeros = 0;
};

struct Bins {
  std::optional<stats::LogBins> log;  // none: every element is zero
  stats::LinearBins linear;
};

LayerDistribution layer_distribution(const HalfData& half, const Bins& bins,
                                     const std::vector<double>& probabilities, LegacyHistogram& legacy) {
  LayerDistribution result;
  result.elements = std::ssize(half.elements());
  result.counts.assign(bins.log ? bins.log->bins() : 0, 0);
  std::vector<HeadCounts> parts(half.heads);
  kernels::parallel_for(half.heads + 1, [&](int64_t task) {
    if (task == 0) {  // the longest task first
      result.quantiles =
          stats::magnitude_order(half.elements(), positions_of(probabilities, result.elements));
      return;
    }
    HeadCounts& part = parts[task - 1];
    const auto x = half.head_elements(task - 1);
    part.log.assign(result.counts.size(), 0);
    part.linear.assign(bins.linear.bins, 0);
    part.zeros = bins.log ? bins.log->count(x, part.log) : std::ssize(x);
    bins.linear.count(x, part.linear);
  });
  for (const HeadCounts& part : parts) {
    result.zeros += part.zeros;
    std::ranges::transform(result.counts, part.log, result.counts.begin(), std::plus{});
    std::ranges::transform(legacy.counts, part.linear, legacy.counts.begin(), std::plus{});
  }
  return result;
}

LegacyHistogram empty_histogram(const stats::LinearBins& bins) {
  LegacyHistogram histogram;
  for (int64_t i = 0; i <= bins.bins; ++i) histogram.edges.push_back(bins.edge(i));
  histogram.counts.assign(bins.bins, 0);
  return histogram;
}

}  // namespace

void validate(const DistributionOptions& options) {
  require<UsageError>(options.bins_per_decade >= 1 && options.bins_per_decade <= 20, "--bins-per-decade ",
                      options.bins_per_decade, ": expected 1 to 20");
  require<UsageError>(options.legacy_bins >= 1 && options.legacy_bins <= 100'000, "--legacy-bins ",
                      options.legacy_bins, ": expected 1 to 100000");
  validate(options.legacy);
}

DistributionResult distribution(const KvView& cache, const DistributionOptions& options) {
  validate(options);
  token_count(cache);
  DistributionResult result;
  result.thresholds = thresholds_of(cache, options);
  result.probabilities = {0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1};
  const Ranges ranges = ranges_of(cache);
  const double least = std::min(ranges.key.nonzero, ranges.value.nonzero);
  const double most = std::max(result.thresholds.k_max, result.thresholds.v_max);
  Bins keys{.log = {}, .linear = {ranges.key.any, result.thresholds.k_max, options.legacy_bins}};
  if (most > 0) keys.log.emplace(least, most, options.bins_per_decade);
  Bins values{.log = keys.log, .linear = {ranges.value.any, result.thresholds.v_max, options.legacy_bins}};
  if (keys.log) result.log_edges = keys.log->log10_edges();
  result.legacy_key = empty_histogram(keys.linear);
  result.legacy_value = empty_histogram(values.linear);
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerData data = load(cache.layers[l]);
    result.key.push_back(layer_distribution(data.key, keys, result.probabilities, result.legacy_key));
    result.value.push_back(layer_distribution(data.value, values, result.probabilities, result.legacy_value));
    result.key.back().layer = result.value.back().layer = static_cast<int>(l);
  }
  return result;
}

}  // namespace kvviz::analysis
