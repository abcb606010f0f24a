// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/layer_data.hpp"

namespace kvviz::analysis {

/// Collects the legacy tables of channel indices, layer after layer.
class LegacyChannelSums {
 public:
  /// `dims`: the largest head_dim of keys and values.
  explicit LegacyChannelSums(int64_t dims);

  /// One layer and its heads' rows.
  void add(const LayerData& data, std::span<const HeadChannels> rows);
  LegacyChannels finish(std::span<const HeadChannels> rows, double prunable);

 private:
  struct Side {
    std::vector<std::vector<double>> importance;  // [layer][dimension]
    std::vector<double> below, elements;          // [dimension]
  };
  void add_side(const HalfData& half, std::span<const HeadChannels> rows, ChannelHalf HeadChannels::*member,
                Side& side) const;

  int64_t dims_;
  Side key_, value_;
};

/// The most and the least variable channels of all heads, with their patterns (read again from the cache).
ChannelPatterns channel_patterns(const KvView& cache, std::span<const HeadChannels> rows, Half half,
                                 const ChannelsOptions& options);

}  // namespace kvviz::analysis
