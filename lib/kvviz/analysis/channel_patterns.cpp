// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "kvviz/analysis/channel_parts.hpp"

namespace kvviz::analysis {
namespace {

struct Candidate {
  int layer = 0, head = 0;
  int64_t channel = 0;
  double variation = 0;
};

/// Channels in an order that does not depend on how the variation ties.
template <class Better>
std::vector<Candidate> best(std::vector<Candidate> all, int64_t count, Better better) {
  const auto end = all.begin() + std::min<int64_t>(count, std::ssize(all));
  std::partial_sort(all.begin(), end, all.end(), [&](const Candidate& a, const Candidate& b) {
    if (a.variation != b.variation) return better(a.variation, b.variation);
    return std::tie(a.layer, a.head, a.channel) < std::tie(b.layer, b.head, b.channel);
  });
  all.erase(end, all.end());
  return all;
}

ChannelPattern pattern_of(const KvView& cache, Half half, const Candidate& c, int64_t skip) {
  const LayerData data = load(cache.layers[c.layer]);
  const HalfData& part = data.half(half);
  ChannelPattern pattern;
  pattern.layer = c.layer;
  pattern.head = c.head;
  pattern.channel = c.channel;
  pattern.variation = c.variation;
  double rest = 0;
  for (int64_t t = 0; t < part.tokens; ++t) {
    pattern.values.push_back(std::fabs(static_cast<double>(part.row(c.head, t)[c.channel])));
    if (t >= skip) rest += pattern.values.back();
  }
  const double mean = rest / static_cast<double>(part.tokens - skip);
  for (double& value : pattern.values) value /= mean;
  return pattern;
}

}  // namespace

ChannelPatterns channel_patterns(const KvView& cache, std::span<const HeadChannels> rows, Half half,
                                 const ChannelsOptions& options) {
  std::vector<Candidate> all;
  for (const HeadChannels& row : rows) {
    const ChannelHalf& part = half == Half::key ? row.key : row.value;
    for (int64_t c = 0; c < std::ssize(part.variation); ++c) {
      if (!std::isnan(part.variation[c])) all.push_back({row.layer, row.head, c, part.variation[c]});
    }
  }
  ChannelPatterns patterns;
  for (const Candidate& c : best(all, options.patterns, std::greater{})) {
    patterns.most.push_back(pattern_of(cache, half, c, options.skip_first));
  }
  for (const Candidate& c : best(all, options.patterns, std::less{})) {
    patterns.least.push_back(pattern_of(cache, half, c, options.skip_first));
  }
  return patterns;
}

}  // namespace kvviz::analysis
