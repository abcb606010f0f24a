// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

struct ChannelsOptions {
  double outlier_ratio =
      3;  ///< a channel is an outlier when its RMS is above this multiple of its head's median RMS
  int64_t skip_first = 1;  ///< first tokens left out of the variability of a channel (attention sinks)
  int64_t patterns = 5;    ///< how many of the most and of the least variable channels keep their pattern
  double prunable = 0.2;   ///< legacy: a channel counts as prunable above this sparsity
  LegacyOptions legacy;
  std::optional<LegacyThresholds> thresholds;  ///< of this cache, if known already
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.outlier_ratio, "outlier-ratio",
          "a channel is an outlier above this multiple of its head's median RMS");
    visit(s.skip_first, "skip-first", "first tokens left out of a channel's variability");
    visit(s.patterns, "patterns", "number of most and least variable channels whose pattern is kept");
    visit(s.prunable, "legacy-prunable-channels", "legacy: count channels whose sparsity is above this");
  }
};
void validate(const ChannelsOptions& options);  ///< throws UsageError

/// The channels of one head's keys or values; every vector [head_dim], statistics over the tokens.
struct ChannelHalf {
  std::vector<double> rms;
  std::vector<double>
      rms_ratio;  ///< / median RMS of the head's channels (scale-free); kNone when the median is 0
  std::vector<double> abs_max;
  std::vector<double> excess_kurtosis;  ///< over the tokens; kNone without variance
  std::vector<double>
      variation;  ///< std / mean of |x| over the tokens after skip_first; kNone when empty or 0
  std::vector<LegacyStats> legacy;
};

struct HeadChannels {
  int layer = 0, head = 0;
  ChannelHalf key, value;
  /// Keys with RoPE: [rotary_dim / 2] RMS of the pair (d, d + rotary_dim/2) or (2f, 2f+1) of frequency f,
  /// whose length the rotation does not change: sqrt(mean over tokens of x_d^2 + x_d'^2). Empty without RoPE.
  std::vector<double> key_pair_rms;
  std::vector<double> key_pair_ratio;  ///< / median over the head's pairs; kNone when that is 0
};

struct ChannelOutlier {
  int layer = 0, head = 0;
  Half half = Half::key;
  int64_t channel = 0;
  double ratio = 0;  ///< rms_ratio
  double abs_max = 0;
  int64_t frequency = -1;  ///< RoPE frequency index of a rotated key channel, else -1
};

/// |x| of one channel over the tokens.
struct ChannelPattern {
  int layer = 0, head = 0;
  int64_t channel = 0;
  double variation = 0;        ///< rank criterion: coefficient of variation without the first tokens
  std::vector<double> values;  ///< [tokens] |x| / mean |x| after skip_first
};
struct ChannelPatterns {
  std::vector<ChannelPattern> most, least;  ///< variation descending, ascending
};

/// Legacy: a channel index pooled over all heads and layers (unrelated bases for V).
struct LegacyDimension {
  int64_t dimension = 0;
  double k_sparsity = 0, v_sparsity = 0, overall_sparsity = 0;
};

/// Where head_dim differs between layers, a dimension is pooled over the layers that have it (kNone: none
/// does).
struct LegacyChannels {
  std::vector<LegacyDimension> dimensions;                      ///< by dimension (P7)
  std::vector<std::vector<double>> k_importance, v_importance;  ///< [layer][dimension] 1 - sparsity (H2)
  int64_t prunable_keys = 0, prunable_values = 0;               ///< channels with a sparsity above `prunable`
};

struct ChannelsResult {
  std::vector<HeadChannels> rows;                ///< layer by layer, heads in order
  std::vector<ChannelOutlier> outliers;          ///< by ratio descending
  ChannelPatterns key_patterns, value_patterns;  ///< ranked apart
  LegacyChannels legacy;
  LegacyThresholds thresholds;
};

/// Channel statistics per (layer, KV head, channel). Two passes over the cache. Throws DataError on NaN or
/// infinity.
ChannelsResult channels(const KvView& cache, const ChannelsOptions& options);

}  // namespace kvviz::analysis
