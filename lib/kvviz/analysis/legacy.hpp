// SPDX-License-Identifier: MIT
#pragma once
#include <limits>
#include <optional>

#include "kvviz/cache/kv_cache.hpp"

namespace kvviz::analysis {

/// The two halves of a KV cache.
enum class Half { key, value };

/// "There is no such number": every field that may hold it says when.
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// The near-zero threshold of the tool that kvviz replaces. Its measures carry `legacy` in their names: they
/// depend on the scale of the whole cache (one outlier moves them all) and serve comparison with old results
/// only.
struct LegacyOptions {
  double percent = 1;    ///< tau = percent / 100 x the largest magnitude of all keys (values) of all layers
  double threshold = 0;  ///< a fixed tau for keys and values; 0: from `percent`
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.percent, "legacy-threshold-percent",
          "legacy sparsity threshold, percent of the largest magnitude");
    visit(s.threshold, "legacy-threshold",
          "legacy sparsity threshold as a fixed magnitude (0: from the percentage)");
  }
};

/// Throws UsageError: percent outside (0, 100], threshold negative or not finite.
void validate(const LegacyOptions& options);

/// An element counts as near zero when |x| < tau (strictly).
struct LegacyThresholds {
  double k = 0, v = 0;          ///< tau of the keys, of the values
  double k_max = 0, v_max = 0;  ///< largest magnitude over all layers
};

/// One pass over the cache, which also checks every element: throws DataError naming the layer that holds NaN
/// or infinity. Analyses that are given thresholds rely on that check.
LegacyThresholds legacy_thresholds(const KvView& cache, const LegacyOptions& options);

/// The three legacy numbers of a block of elements, without batch.
struct LegacyStats {
  double sparsity = 0;  ///< share of |x| < tau
  double mean = 0;      ///< mean |x|
  double std = kNone;   ///< standard deviation of x (divisor n - 1); kNone for one element
};

}  // namespace kvviz::analysis
