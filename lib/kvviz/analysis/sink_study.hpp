// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/analysis/sinks.hpp"

namespace kvviz::analysis {

// Sinks over many texts. A study keeps the scores of every text, so that every number below is recomputed
// from them alone: texts measured in parts, and a study read back from a result, give the same numbers.

/// Numbers of keys of a head, as in HeadSinks.
inline constexpr std::array sink_counts{"sink_keys", "column_sinks", "column_heavy"};

/// Scores of one text; heads layer by layer, query heads in order, as SinkStudy::heads.
struct PromptSinks {
  std::string name;  ///< which text
  int64_t text = 0;  ///< its index among those of the run, which counts those that failed too
  int64_t tokens = 0;
  std::array<std::vector<double>, sink_metric_count> score;  ///< [metric][head]
  std::vector<std::vector<double>>
      alpha_at;  ///< [length][head] alpha_k at each of SinkStudy::lengths; kNone: longer than the text
  std::array<std::vector<double>, sink_counts.size()> counts{};  ///< [sink_counts][head]; empty: not counted
};

struct HeadName {
  int layer = 0, head = 0, kv_head = 0;
  bool operator==(const HeadName&) const = default;
};

struct SinkStudy {
  std::vector<HeadName> heads;
  std::vector<int64_t> lengths;  ///< of the curve rate against length, ascending
  std::vector<PromptSinks> prompts;
  int64_t layers() const;
};

/// The scores of one text from its layers. Lengths beyond the text get kNone.
PromptSinks prompt_sinks(const std::string& name, std::span<const LayerSinks> layers,
                         const SinkOptions& options, std::span<const int64_t> lengths);

/// By which rule a head is a sink head.
struct SinkRule {
  SinkMetric metric = SinkMetric::alpha;
  double threshold = 0.3;
  bool holds(double score) const;  ///< > or >=, as the metric has it; false for kNone
};

/// Mean and spread of a quantity over texts. sd is the sample standard deviation (n - 1), kNone for one text.
struct Spread {
  double mean = kNone, sd = kNone;
  int64_t count = 0;
  double standard_error() const;  ///< sd / sqrt(count)
};

struct StudyHead {
  HeadName name;
  std::array<Spread, sink_metric_count> score;
  std::array<Spread, sink_counts.size()> counts{};  ///< of the keys of a text
  double sink_share = 0;  ///< share of the texts with a score in which it is a sink head; 0 without a score
};

struct StudyLayer {
  int layer = 0;
  Spread score;             ///< of the rule's metric: texts of the layer's mean over heads
  double rate = 0;          ///< share of (text, head) that are sinks: threshold, then average
  double rate_of_mean = 0;  ///< share of heads whose mean score is a sink: average, then threshold
  double group_rate =
      0;  ///< share of (text, KV head) all of whose query heads are sinks: only these free cache memory
};

struct LengthPoint {
  int64_t length = 0;
  Spread rate;         ///< over texts: share of heads with alpha_k at this length above the threshold
  Spread alpha;        ///< over texts: mean over heads of alpha_k
  double uniform = 0;  ///< alpha_1 of uniform attention at this length (kNone for k > 1)
};

struct ThresholdPoint {
  double threshold = 0;
  double rate = 0, rate_of_mean = 0, group_rate = 0;
};

struct SinkSummary {
  SinkRule rule;
  std::vector<StudyHead> heads;
  std::vector<StudyLayer> layers;
  Spread rate;              ///< over texts: share of heads that are sinks (threshold, then average)
  double rate_of_mean = 0;  ///< share of heads whose mean score over the texts is a sink
  Spread group_rate;        ///< over texts: share of KV heads all of whose query heads are sinks
  Spread score;             ///< over texts: mean over heads of the metric
  /// Stability of a (layer, head) over texts.
  double always = kNone, never = kNone;  ///< share of heads with a score that are sinks in all texts, in none
  double correlation =
      kNone;  ///< mean Pearson correlation of the heads' scores over pairs of texts; kNone: one text
  std::vector<LengthPoint> by_length;
  std::vector<ThresholdPoint>
      sweep;  ///< 0.05, 0.1 .. 0.95 and the rule's own, ascending (ratio: 1, 2, 5, 10, 20, 50, 100)
};
SinkSummary summarise(const SinkStudy& study, const SinkRule& rule, const SinkOptions& options);

/// Does a sink head of the first layer foretell sinks at the same head index later? (The tool that kvviz
/// replaces called P(later | first) a correlation. Head indices of different layers have nothing to do with
/// each other; the base rate beside it says whether it shows anything.) Counts are over texts x head indices
/// x later layers; pairs of which one has no score are left out.
struct AcrossLayers {
  int64_t first_sinks = 0;  ///< (text, head) that are sinks in the first layer
  double p_later = kNone;   ///< P(sink later | sink in the first layer)
  /// 95 % interval of p_later: percentile bootstrap over head indices, each with all its texts (a head is
  /// much the same in every text, so texts are no independent draws), 2,000 draws, fixed seed; kNone below 2
  /// head indices that are sinks in the first layer of some text.
  double low = kNone, high = kNone;
  double p_later_not = kNone;  ///< P(sink later | no sink in the first layer)
  double base = kNone;         ///< P(sink later)
  double lift = kNone;         ///< p_later / base; 1: the first layer says nothing
  double phi = kNone;          ///< correlation of the two flags, -1 .. 1; kNone where one of them is constant
  double phi_adjacent = kNone;  ///< mean over neighbouring layers of phi at the same index
  std::string reason;  ///< why there is no number: one layer, layers of different size, no score, no sink in
                       ///< the first layer
};
/// For all texts together, and (one text a call) for each: `prompt` < 0 takes all.
AcrossLayers across_layers(const SinkStudy& study, const SinkRule& rule, int64_t prompt = -1);

}  // namespace kvviz::analysis
