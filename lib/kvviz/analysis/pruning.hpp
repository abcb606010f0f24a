// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/stats/rank_correlation.hpp"

namespace kvviz::analysis {

// What a model loses when parts of its KV cache are removed, over all texts. Filled by `kvviz prune`; tables
// and figures read it.

/// Wall clock of single decoded tokens, milliseconds.
struct DecodeTime {
  double median = kNone, lower = kNone, upper = kNone;  ///< lower, upper: first and third quartile
};

/// Whether the ranges from the first to the third quartile have a time in common: a change between two such
/// runs is not told from chance. False where one was not measured.
inline bool overlap(const DecodeTime& a, const DecodeTime& b) {
  return a.lower <= b.upper && b.lower <= a.upper;
}

struct PruneVariant {
  CacheOutcome outcome;
  double key_zeros = 0, value_zeros = 0;  ///< share of keys (values) that are removed, or exactly 0
  bool smaller_store = false;  ///< tokens or KV heads are gone: the cache that is read is really smaller
  double store_bytes = kNone, full_store_bytes = kNone;  ///< of the caches that were timed, in f32
  int64_t steps = 0;                                     ///< tokens that were timed
  DecodeTime time, full_time;                            ///< of the same tokens in the same run
};

struct PruningStudy {
  int layers = 0;
  int64_t texts = 0, tokens = 0;  ///< tokens: of all texts
  double full_ppl = kNone, full_nll = kNone;
  std::vector<PruneVariant> variants;  ///< the first: nothing removed
  std::vector<TextOutcome> by_text;    ///< of each text all variants
};

/// What a sweep removes, one at a time.
enum class SweepKind { layers, heads, channels };

/// One layer's cache, one KV head of a layer, or a block of channels of a layer's keys or values.
struct SweepItem {
  int layer = 0, head = -1;                       ///< head: of a sweep of heads
  int64_t first_channel = -1, last_channel = -1;  ///< of a sweep of channels
  std::optional<Half> half;                       ///< of a sweep of channels
  CacheOutcome outcome;                           ///< method: how it is called
  std::vector<double> metrics;  ///< of SweepStudy::metrics, mean over the texts that have it; kNone: none
};

/// How well a number that is measured without removing anything orders the items by what removing them costs.
struct SweepCorrelation {
  std::string metric;
  std::optional<Half> half;         ///< items of a sweep of channels: keys, values
  stats::RankCorrelation loss, kl;  ///< with delta_nll, with the KL divergence
};

struct SweepStudy {
  SweepKind kind = SweepKind::layers;
  int layers = 0;
  int64_t texts = 0, tokens = 0;
  double full_ppl = kNone, full_nll = kNone;
  std::vector<std::string> metrics;  ///< names
  std::vector<SweepItem> items;
  std::vector<SweepCorrelation> correlations;
};

/// p below which a correlation is named as the best.
inline constexpr double rank_significance = 0.05;

/// One entry a metric (and half), in the order of the metrics.
std::vector<SweepCorrelation> correlations_of(const SweepStudy& study);

/// By what removing them costs (delta_nll), least first.
std::vector<const SweepItem*> by_loss(const SweepStudy& study);

/// That with the largest |rho| with delta_nll; null: none is defined.
const SweepCorrelation* best_correlation(const SweepStudy& study);

/// p of it, as that of the best of all metrics (stats::strongest_p_value); of a sweep of channels, where it
/// may be of the keys or of the values, twice that of the metrics of its half, at most 1 (Bonferroni).
double best_p_value(const SweepStudy& study);

}  // namespace kvviz::analysis
