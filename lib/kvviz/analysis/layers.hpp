// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

struct LayersOptions {
  double small_eps = 0.1;  ///< an element is small when |x| < small_eps x RMS of its layer
  double prunable = 0.5;   ///< legacy: a layer is listed when the K or the V sparsity is above this
  LegacyOptions legacy;
  std::optional<LegacyThresholds> thresholds;  ///< of this cache, if known already
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.prunable, "legacy-prunable-layers", "legacy: count layers whose sparsity is above this");
  }
};
void validate(const LayersOptions& options);  ///< throws UsageError

/// Keys or values of one layer, all heads together; definitions as in HeadHalf, (s): scale-free.
struct LayerHalf {
  double mean = 0, std = 0;  ///< divisor n
  double rms = 0, mean_abs = 0, abs_max = 0;
  double hoyer = 0;                ///< (s)
  double participation_ratio = 0;  ///< (s)
  double excess_kurtosis = kNone;  ///< (s)
  double small_share = 0;          ///< (s) share of |x| < small_eps x RMS of the layer
  double zero_share = 0;           ///< (s)
  double effective_rank = kNone;   ///< (s) mean over the heads that have one; kNone when none has
  double stable_rank = kNone;      ///< (s) mean over the heads that have one
  LegacyStats legacy;
};

struct LayerRow {
  int layer = 0;
  int64_t kv_heads = 0, tokens = 0, head_dim = 0, value_dim = 0;  ///< channels per head: keys, values
  int window = 0;                                                 ///< sliding window, 0: none
  int64_t bytes = 0;                                              ///< keys and values as stored
  LayerHalf key, value;
  double cka = kNone, cka_chance = kNone, cka_excess = kNone;  ///< mean over the heads that have one
  /// Legacy: element-wise correlation of K[h,t,d] with V[h,t,d] over the whole layer (the original took
  /// 10,000 random elements of larger layers). The two live in unrelated bases, so it is near 0 whatever the
  /// model does.
  double legacy_kv_correlation = kNone;  ///< kNone for one element, or head_dim != value_dim
};

struct LayersResult {
  std::vector<LayerRow> rows;
  LegacyThresholds thresholds;
  std::vector<int> legacy_prunable;  ///< layers, by K then V sparsity descending
  int64_t bytes = 0;                 ///< of the whole cache
};

/// Per layer statistics from the heads' (heads() of the same cache, whose thresholds hold here; ranks and CKA
/// are kNone if it ran without `spectrum`). One more pass over the cache.
LayersResult layers(const KvView& cache, const LayersOptions& options, const HeadsResult& head_rows);

/// As above, with heads() computed on the way. Throws DataError on NaN or infinity.
LayersResult layers(const KvView& cache, const LayersOptions& options);

}  // namespace kvviz::analysis
