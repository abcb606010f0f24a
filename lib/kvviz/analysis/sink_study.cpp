// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sink_study.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

Spread spread_of(std::span<const double> values) {
  Spread spread;
  double sum = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++spread.count;
  }
  if (spread.count == 0) return spread;
  spread.mean = sum / static_cast<double>(spread.count);
  if (spread.count < 2) return spread;
  double squares = 0;
  for (const double value : values)
    if (!std::isnan(value)) squares += (value - spread.mean) * (value - spread.mean);
  spread.sd = std::sqrt(squares / static_cast<double>(spread.count - 1));
  return spread;
}

double mean_of(std::span<const double> values) {
  return spread_of(values).mean;
}

/// Heads of one layer, or of one KV head of it, as a range of SinkStudy::heads.
struct HeadRange {
  size_t begin = 0, end = 0;
  int layer = 0;
};

template <class Same>
std::vector<HeadRange> ranges(const std::vector<HeadName>& heads, Same same) {
  std::vector<HeadRange> all;
  for (size_t h = 0; h < heads.size(); ++h) {
    if (h == 0 || !same(heads[h - 1], heads[h])) all.push_back({h, h, heads[h].layer});
    all.back().end = h + 1;
  }
  return all;
}

std::vector<HeadRange> layer_ranges(const SinkStudy& study) {
  return ranges(study.heads, [](const HeadName& a, const HeadName& b) { return a.layer == b.layer; });
}

std::vector<HeadRange> group_ranges(const SinkStudy& study) {
  return ranges(study.heads, [](const HeadName& a, const HeadName& b) {
    return a.layer == b.layer && a.kv_head == b.kv_head;
  });
}

const std::vector<double>& scores_of(const PromptSinks& prompt, SinkMetric metric) {
  return prompt.score[static_cast<size_t>(metric)];
}

double rate_of(const std::vector<double>& scores, HeadRange range, const SinkRule& rule) {
  double sinks = 0, known = 0;
  for (size_t h = range.begin; h < range.end; ++h) {
    sinks += rule.holds(scores[h]) ? 1 : 0;
    known += std::isnan(scores[h]) ? 0 : 1;
  }
  return known > 0 ? sinks / known : kNone;
}

double group_rate_of(const std::vector<double>& scores, std::span<const HeadRange> groups,
                     const SinkRule& rule) {
  double whole = 0, known = 0;
  for (const HeadRange& group : groups) {
    const double rate = rate_of(scores, group, rule);
    if (std::isnan(rate)) continue;
    whole += rate == 1 ? 1 : 0;
    ++known;
  }
  return known > 0 ? whole / known : kNone;
}

/// Mean over the texts of a number of each.
template <class Get>
Spread over_texts(const SinkStudy& study, Get get) {
  std::vector<double> values;
  for (const PromptSinks& prompt : study.prompts) values.push_back(get(prompt));
  return spread_of(values);
}

std::vector<double> mean_scores(const SinkStudy& study, SinkMetric metric) {
  std::vector<double> means;
  for (size_t h = 0; h < study.heads.size(); ++h)
    means.push_back(over_texts(study, [&](const PromptSinks& p) { return scores_of(p, metric)[h]; }).mean);
  return means;
}

StudyHead head_of(const SinkStudy& study, size_t h, const SinkRule& rule) {
  StudyHead head{.name = study.heads[h]};
  for (size_t m = 0; m < sink_metric_count; ++m)
    head.score[m] = over_texts(study, [&](const PromptSinks& p) { return p.score[m][h]; });
  for (size_t c = 0; c < sink_counts.size(); ++c)
    head.counts[c] =
        over_texts(study, [&](const PromptSinks& p) { return p.counts[c].empty() ? kNone : p.counts[c][h]; });
  const double share = over_texts(study, [&](const PromptSinks& p) {
                         return rate_of(scores_of(p, rule.metric), {h, h + 1}, rule);
                       }).mean;
  if (!std::isnan(share)) head.sink_share = share;
  return head;
}

StudyLayer layer_of(const SinkStudy& study, HeadRange range, std::span<const HeadRange> groups,
                    std::span<const double> means, const SinkRule& rule) {
  StudyLayer layer{.layer = range.layer};
  layer.score = over_texts(study, [&](const PromptSinks& prompt) {
    return mean_of(std::span(scores_of(prompt, rule.metric)).subspan(range.begin, range.end - range.begin));
  });
  std::vector<HeadRange> inside;
  for (const HeadRange& group : groups)
    if (group.layer == range.layer) inside.push_back(group);
  layer.rate = over_texts(study, [&](const PromptSinks& p) {
                 return rate_of(scores_of(p, rule.metric), range, rule);
               }).mean;
  layer.group_rate = over_texts(study, [&](const PromptSinks& p) {
                       return group_rate_of(scores_of(p, rule.metric), inside, rule);
                     }).mean;
  layer.rate_of_mean = rate_of({means.begin(), means.end()}, range, rule);
  return layer;
}

/// Texts whose scores are of the same heads: all, but where a metric has none for a text.
struct AlikeTexts {
  std::vector<bool> known;  // [head]
  std::vector<double> sum;  // [head] of the texts' scores, each centred and of length 1
  double texts = 0;
};

/// The correlation of a and b is the product of the two, centred and of length 1; so its sum over all pairs
/// of n texts is (|sum of them|^2 - n) / 2, without looking at the pairs. A text whose heads all score the
/// same has no correlation, and texts with other heads are not paired.
double mean_correlation(const SinkStudy& study, SinkMetric metric) {
  std::vector<AlikeTexts> alike;
  for (const PromptSinks& prompt : study.prompts) {
    std::vector<double> scores = scores_of(prompt, metric);
    const Spread spread = spread_of(scores);
    if (spread.count < 2 || !(spread.sd > 0)) continue;
    const double length = spread.sd * std::sqrt(static_cast<double>(spread.count - 1));
    std::vector<bool> known;
    for (const double score : scores) known.push_back(!std::isnan(score));
    auto of = std::ranges::find(alike, known, &AlikeTexts::known);
    if (of == alike.end()) of = alike.insert(of, {std::move(known), std::vector<double>(scores.size()), 0});
    for (size_t h = 0; h < scores.size(); ++h)
      if (of->known[h]) of->sum[h] += (scores[h] - spread.mean) / length;
    ++of->texts;
  }
  double pairs = 0, correlations = 0;
  for (const AlikeTexts& texts : alike) {
    double squares = 0;
    for (const double sum : texts.sum) squares += sum * sum;
    pairs += texts.texts * (texts.texts - 1);
    correlations += squares - texts.texts;
  }
  return pairs > 0 ? correlations / pairs : kNone;
}

LengthPoint length_point(const SinkStudy& study, size_t index, double threshold, int64_t k) {
  LengthPoint point{.length = study.lengths[index]};
  const SinkRule rule{SinkMetric::alpha, threshold};
  const HeadRange all{0, study.heads.size(), 0};
  point.rate = over_texts(study, [&](const PromptSinks& p) { return rate_of(p.alpha_at[index], all, rule); });
  point.alpha = over_texts(study, [&](const PromptSinks& p) { return mean_of(p.alpha_at[index]); });
  point.uniform = k == 1 ? uniform_alpha(point.length) : kNone;
  return point;
}

std::vector<double> sweep_thresholds(const SinkRule& rule) {
  std::set<double> thresholds{rule.threshold};
  if (info_of(rule.metric).is_share)
    for (int i = 1; i < 20; ++i) thresholds.insert(i / 20.0);
  else
    thresholds.insert({1, 2, 5, 10, 20, 50, 100});
  return {thresholds.begin(), thresholds.end()};
}

}  // namespace

int64_t SinkStudy::layers() const {
  return heads.empty() ? 0 : heads.back().layer + 1;
}

bool SinkRule::holds(double score) const {
  return info_of(metric).inclusive ? score >= threshold : score > threshold;
}

double Spread::standard_error() const {
  return sd / std::sqrt(static_cast<double>(count));
}

PromptSinks prompt_sinks(const std::string& name, std::span<const LayerSinks> layers,
                         const SinkOptions& options, std::span<const int64_t> lengths) {
  require(!layers.empty(), "[sinks] ", name, ": no layers");
  PromptSinks prompt{.name = name, .tokens = layers.front().tokens};
  for (const LayerSinks& layer : layers)
    for (const HeadSinks& head : layer.heads) {
      for (size_t m = 0; m < sink_metric_count; ++m) prompt.score[m].push_back(head.score[m]);
      const int64_t counts[] = {std::ssize(head.sink_keys), head.column_sinks, head.column_heavy};
      for (size_t c = 0; c < sink_counts.size(); ++c)
        prompt.counts[c].push_back(static_cast<double>(counts[c]));
    }
  for (const int64_t length : lengths) {
    std::vector<double>& row = prompt.alpha_at.emplace_back();
    for (const LayerSinks& layer : layers)
      for (const std::vector<float>& curve : layer.curve) {
        if (length > prompt.tokens || length < options.k) {
          row.push_back(kNone);
          continue;
        }
        double sum = 0;
        for (int64_t i = options.k - 1; i < length; ++i) sum += static_cast<double>(curve[i]);
        row.push_back(sum / static_cast<double>(length - options.k + 1));
      }
  }
  return prompt;
}

SinkSummary summarise(const SinkStudy& study, const SinkRule& rule, const SinkOptions& options) {
  require(!study.prompts.empty() && !study.heads.empty(), "[sinks] a study without texts or heads");
  SinkSummary summary{.rule = rule};
  const auto layers = layer_ranges(study), groups = group_ranges(study);
  const HeadRange all{0, study.heads.size(), 0};
  const auto scores = [&](const PromptSinks& prompt) -> const std::vector<double>& {
    return scores_of(prompt, rule.metric);
  };
  const std::vector<double> means = mean_scores(study, rule.metric);
  for (size_t h = 0; h < study.heads.size(); ++h) summary.heads.push_back(head_of(study, h, rule));
  for (const HeadRange& range : layers) summary.layers.push_back(layer_of(study, range, groups, means, rule));
  summary.rate = over_texts(study, [&](const PromptSinks& p) { return rate_of(scores(p), all, rule); });
  summary.group_rate =
      over_texts(study, [&](const PromptSinks& p) { return group_rate_of(scores(p), groups, rule); });
  summary.score = over_texts(study, [&](const PromptSinks& p) { return mean_of(scores(p)); });
  summary.rate_of_mean = rate_of(means, all, rule);
  double always = 0, never = 0, known = 0;
  for (const StudyHead& head : summary.heads) {
    if (head.score[static_cast<size_t>(rule.metric)].count == 0) continue;
    always += head.sink_share == 1 ? 1 : 0;
    never += head.sink_share == 0 ? 1 : 0;
    ++known;
  }
  if (known > 0) summary.always = always / known, summary.never = never / known;
  summary.correlation = mean_correlation(study, rule.metric);
  const double at_lengths =
      rule.metric == SinkMetric::alpha ? rule.threshold : info_of(SinkMetric::alpha).threshold;
  for (size_t i = 0; i < study.lengths.size(); ++i)
    summary.by_length.push_back(length_point(study, i, at_lengths, options.k));
  for (const double threshold : sweep_thresholds(rule)) {
    const SinkRule swept{rule.metric, threshold};
    summary.sweep.push_back(
        {threshold,
         over_texts(study, [&](const PromptSinks& p) { return rate_of(scores(p), all, swept); }).mean,
         rate_of(means, all, swept), over_texts(study, [&](const PromptSinks& p) {
                                       return group_rate_of(scores(p), groups, swept);
                                     }).mean});
  }
  return summary;
}

}  // namespace kvviz::analysis
