// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

struct DistributionOptions {
  int64_t bins_per_decade = 10;  ///< logarithmic bins per factor of 10 (1 .. 20)
  int64_t legacy_bins = 50;      ///< equal bins of the legacy histogram
  LegacyOptions legacy;
  std::optional<LegacyThresholds> thresholds;  ///< of this cache, if known already
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.bins_per_decade, "bins-per-decade", "logarithmic histogram bins per factor of 10");
    visit(s.legacy_bins, "legacy-bins", "equal bins of the legacy histogram");
  }
};
void validate(const DistributionOptions& options);  ///< throws UsageError

/// Magnitudes of one layer's keys or values.
struct LayerDistribution {
  int layer = 0;
  std::vector<int64_t>
      counts;            ///< [log_edges - 1] elements with log_edges[i] <= log10 |x| < log_edges[i + 1]
  int64_t zeros = 0;     ///< exact zeros, in no bin
  int64_t elements = 0;  ///< zeros included: sum of counts + zeros
  std::vector<double> quantiles;  ///< [probabilities] |x| at that share of the sorted elements: exact order
                                  ///< statistics, index ceil(p n) - 1
};

/// Magnitudes of all layers' keys (or values) in equal bins from the least to the largest |x|, as the
/// original drew them. The threshold is half a bin wide with the default percentage: the histogram cannot
/// show it.
struct LegacyHistogram {
  std::vector<double> edges;    ///< [legacy_bins + 1]
  std::vector<int64_t> counts;  ///< [legacy_bins]; the last bin holds its right edge
};

struct DistributionResult {
  std::vector<double>
      log_edges;  ///< log10 of the bin edges, multiples of 1 / bins_per_decade that enclose all
                  ///< nonzero magnitudes of keys and values; empty when everything is zero
  std::vector<double> probabilities;          ///< of LayerDistribution::quantiles
  std::vector<LayerDistribution> key, value;  ///< per layer
  LegacyHistogram legacy_key, legacy_value;
  LegacyThresholds thresholds;
};

/// Magnitude distributions by streaming: exact counts, three passes over the cache, memory O(bins). Throws
/// DataError on NaN or infinity.
DistributionResult distribution(const KvView& cache, const DistributionOptions& options);

}  // namespace kvviz::analysis
