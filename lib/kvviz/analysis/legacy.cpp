// SPDX-License-Identifier: MIT
#include "kvviz/analysis/legacy.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

double largest(const HalfData& half, int layer, const char* what) {
  std::vector<double> tops(half.heads);
  kernels::parallel_for(half.heads,
                        [&](int64_t h) { tops[h] = stats::largest_magnitude(half.head_elements(h)); });
  double top = 0;
  for (size_t h = 0; h < tops.size(); ++h) {
    require(std::isfinite(tops[h]), "the cache holds NaN or infinity: ", what, " of layer ", layer,
            ", KV head ", h, "; the model or the file that it came from is damaged");
    top = std::max(top, tops[h]);
  }
  return top;
}

}  // namespace

void validate(const LegacyOptions& options) {
  require<UsageError>(options.percent > 0 && options.percent <= 100, "--legacy-threshold-percent ",
                      options.percent, ": expected a number above 0, at most 100");
  require<UsageError>(options.threshold >= 0 && std::isfinite(options.threshold), "--legacy-threshold ",
                      options.threshold, ": expected a finite number, 0 (from the percentage) or above");
}

LegacyThresholds legacy_thresholds(const KvView& cache, const LegacyOptions& options) {
  validate(options);
  LegacyThresholds result;
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerData data = load(cache.layers[l]);
    result.k_max = std::max(result.k_max, largest(data.key, static_cast<int>(l), "a key"));
    result.v_max = std::max(result.v_max, largest(data.value, static_cast<int>(l), "a value"));
  }
  result.k = options.threshold > 0 ? options.threshold : options.percent / 100 * result.k_max;
  result.v = options.threshold > 0 ? options.threshold : options.percent / 100 * result.v_max;
  return result;
}

}  // namespace kvviz::analysis
