// SPDX-License-Identifier: MIT
#include "kvviz/analysis/channels.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/analysis/channel_parts.hpp"
#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/channels.hpp"

namespace kvviz::analysis {
namespace {

std::vector<double> relative_to_median(const std::vector<double>& values) {
  const double median = stats::median(values);
  std::vector<double> ratios(values.size(), kNone);
  for (size_t i = 0; median > 0 && i < values.size(); ++i) ratios[i] = values[i] / median;
  return ratios;
}

ChannelHalf half_of(const stats::ColumnStats& s) {
  ChannelHalf half;
  half.abs_max = s.abs_max;
  const auto n = static_cast<double>(s.rows), rest = n - static_cast<double>(s.skipped);
  for (size_t c = 0; c < s.sum.size(); ++c) {
    half.rms.push_back(std::sqrt(s.sum_sq[c] / n));
    const bool varies = s.m2[c] > stats::kNoVariance * s.sum_sq[c];
    half.excess_kurtosis.push_back(varies ? n * s.m4[c] / (s.m2[c] * s.m2[c]) - 3 : kNone);
    const bool has_rest = rest > 0 && s.abs_rest[c] > 0;
    half.variation.push_back(has_rest ? std::sqrt(s.abs_rest_m2[c] / rest) / (s.abs_rest[c] / rest) : kNone);
    half.legacy.push_back({static_cast<double>(s.below[c]) / n, (s.abs_first[c] + s.abs_rest[c]) / n,
                           s.rows > 1 ? std::sqrt(s.m2[c] / (n - 1)) : kNone});
  }
  half.rms_ratio = relative_to_median(half.rms);
  return half;
}

/// RoPE frequency of a key channel, -1 where it is not rotated.
int64_t frequency_of(const KvView& cache, int64_t channel) {
  if (cache.pairing == RopePairing::none || channel >= cache.rotary_dim) return -1;
  return cache.pairing == RopePairing::half ? channel % (cache.rotary_dim / 2) : channel / 2;
}

std::vector<double> pair_rms(const KvView& cache, const std::vector<double>& rms) {
  if (cache.pairing == RopePairing::none) return {};
  std::vector<double> energy(cache.rotary_dim / 2, 0.0);
  for (int64_t c = 0; c < cache.rotary_dim; ++c) energy[frequency_of(cache, c)] += rms[c] * rms[c];
  for (double& e : energy) e = std::sqrt(e);
  return energy;
}

void append_outliers(const KvView& cache, const HeadChannels& row, Half which, double limit,
                     std::vector<ChannelOutlier>& list) {
  const ChannelHalf& half = which == Half::key ? row.key : row.value;
  for (int64_t c = 0; c < std::ssize(half.rms_ratio); ++c) {
    if (!(half.rms_ratio[c] > limit)) continue;
    list.push_back({row.layer, row.head, which, c, half.rms_ratio[c], half.abs_max[c],
                    which == Half::key ? frequency_of(cache, c) : -1});
  }
}

std::vector<HeadChannels> layer_rows(const KvView& cache, const LayerData& data, int layer,
                                     const ChannelsOptions& options, const LegacyThresholds& tau) {
  const int64_t count = data.key.heads;
  std::vector<HeadChannels> rows(count);
  kernels::parallel_for(2 * count, [&](int64_t task) {
    const int64_t h = task / 2;
    const bool key = task % 2 == 0;
    const stats::ColumnRequest request{.threshold = key ? tau.k : tau.v, .skip_first = options.skip_first};
    (key ? rows[h].key : rows[h].value) =
        half_of(stats::column_stats(data.half(key ? Half::key : Half::value).head(h), request));
  });
  for (int64_t h = 0; h < count; ++h) {
    rows[h].layer = layer;
    rows[h].head = static_cast<int>(h);
    rows[h].key_pair_rms = pair_rms(cache, rows[h].key.rms);
    rows[h].key_pair_ratio = relative_to_median(rows[h].key_pair_rms);
  }
  return rows;
}

int64_t largest_dim(const KvView& cache) {
  int64_t dim = 0;
  for (const LayerKv& layer : cache.layers) dim = std::max({dim, layer.head_dim(), layer.value.size(2)});
  return dim;
}

void check_rotary(const KvView& cache) {
  if (cache.pairing == RopePairing::none) return;
  require(cache.rotary_dim > 0 && cache.rotary_dim % 2 == 0, "[channels] got rotary_dim ", cache.rotary_dim,
          "; expected an even number above 0 for keys with RoPE");
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    require(cache.layers[l].head_dim() >= cache.rotary_dim, "[channels] layer ", l, " has ",
            cache.layers[l].head_dim(), " channels per head, fewer than rotary_dim ", cache.rotary_dim);
  }
}

}  // namespace

void validate(const ChannelsOptions& options) {
  require<UsageError>(options.outlier_ratio > 1 && std::isfinite(options.outlier_ratio), "--outlier-ratio ",
                      options.outlier_ratio, ": expected a number above 1");
  require<UsageError>(options.skip_first >= 0, "--skip-first ", options.skip_first, ": expected 0 or more");
  require<UsageError>(options.patterns >= 0, "--patterns ", options.patterns, ": expected 0 or more");
  require<UsageError>(options.prunable >= 0 && options.prunable <= 1, "--legacy-prunable-channels ",
                      options.prunable, ": expected a share, 0 to 1");
  validate(options.legacy);
}

ChannelsResult channels(const KvView& cache, const ChannelsOptions& options) {
  validate(options);
  token_count(cache);
  check_rotary(cache);
  ChannelsResult result;
  result.thresholds = thresholds_of(cache, options);
  LegacyChannelSums legacy(largest_dim(cache));
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerData data = load(cache.layers[l]);
    const std::vector<HeadChannels> rows =
        layer_rows(cache, data, static_cast<int>(l), options, result.thresholds);
    legacy.add(data, rows);
    for (const HeadChannels& row : rows) {
      append_outliers(cache, row, Half::key, options.outlier_ratio, result.outliers);
      append_outliers(cache, row, Half::value, options.outlier_ratio, result.outliers);
    }
    result.rows.insert(result.rows.end(), rows.begin(), rows.end());
  }
  std::ranges::stable_sort(result.outliers, std::greater{}, &ChannelOutlier::ratio);
  result.key_patterns = channel_patterns(cache, result.rows, Half::key, options);
  result.value_patterns = channel_patterns(cache, result.rows, Half::value, options);
  result.legacy = legacy.finish(result.rows, options.prunable);
  return result;
}

}  // namespace kvviz::analysis
