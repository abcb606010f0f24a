// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sink_study.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kvviz/analysis/synthetic_sinks.hpp"
#include "support/errors.hpp"
#include "unit/analysis/sink_studies.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using test::add_text;
using test::legacy_rule;
using test::study_of;

namespace {

/// Scores of 32 heads with the given mean, of which `sinks` reach the threshold.
std::vector<double> layer_scores(double mean, int64_t sinks, double threshold) {
  const auto above = static_cast<double>(sinks);
  for (double low = 0; low < threshold - 1e-9; low += 0.01) {
    const double high = sinks > 0 ? (32 * mean - (32 - above) * low) / above : 0;
    if (high < threshold || high > 1) continue;
    std::vector<double> scores(32, low);
    std::fill_n(scores.begin(), sinks, high);
    return scores;
  }
  FAIL("no such scores");
  return {};
}

}  // namespace

TEST_CASE("[sink_study] published layer tables average to the published totals") {
  // Llama-3.2-1B: layer means of the average score, and sink % at 0.9 of 32 heads.
  const std::vector<double> small_mean{.7518, .8810, .9076, .8267, .8180, .8248, .7684, .8200,
                                       .7857, .7435, .8327, .8512, .8472, .8656, .8407, .7865};
  const std::vector<double> small_rate{34.38, 50.00, 62.50, 21.88, 28.12, 28.12, 9.38,  18.75,
                                       15.62, 21.88, 40.62, 34.38, 43.75, 53.12, 59.38, 37.50};
  // Llama-3.1-8B, sink % at 0.8.
  const std::vector<double> large_mean{.7521, .8628, .9439, .8964, .8812, .8778, .8369, .8059,
                                       .8111, .8167, .8280, .8050, .7541, .8186, .8044, .7660,
                                       .7958, .8318, .8823, .9019, .8935, .8566, .9003, .9119,
                                       .9258, .9243, .8871, .8954, .8490, .8779, .8093, .7424};
  const std::vector<double> large_rate{46.88, 81.25, 100.00, 93.75, 87.50, 75.00, 65.62, 53.12,
                                       56.25, 65.62, 59.38,  53.12, 40.62, 68.75, 65.62, 40.62,
                                       56.25, 65.62, 78.12,  90.62, 84.38, 71.88, 84.38, 93.75,
                                       90.62, 93.75, 78.12,  87.50, 65.62, 81.25, 59.38, 46.88};
  const auto check = [](const std::vector<double>& means, const std::vector<double>& rates, double threshold,
                        double score, double percent) {
    SinkStudy study = study_of(std::ssize(means), 32, 8);
    std::vector<double> scores;
    for (size_t l = 0; l < means.size(); ++l) {
      const std::vector<double> layer = layer_scores(means[l], std::lround(rates[l] * 32 / 100), threshold);
      scores.insert(scores.end(), layer.begin(), layer.end());
    }
    add_text(study, scores);
    const SinkSummary summary = summarise(study, {SinkMetric::share0, threshold}, {});
    CHECK(std::abs(summary.score.mean - score) < 5.1e-5);
    CHECK(std::abs(100 * summary.rate.mean - percent) < 0.0051);
    CHECK(summary.rate_of_mean == summary.rate.mean);
    for (size_t l = 0; l < means.size(); ++l) {
      CHECK(summary.layers[l].score.mean == doctest::Approx(means[l]));
      CHECK(std::abs(100 * summary.layers[l].rate - rates[l]) < 0.0051);
    }
    CHECK(std::isnan(summary.rate.sd));
    CHECK(std::isnan(summary.correlation));
  };
  check(small_mean, small_rate, 0.9, 0.8220, 34.96);
  check(large_mean, large_rate, 0.8, 0.8483, 71.29);
}

TEST_CASE("[sink_study] threshold then average: the published rates of the texts give 40.70 %") {
  SinkStudy study = study_of(16, 32);
  for (const size_t sinks : {366, 153, 185, 180, 158}) {
    std::vector<double> scores(512, 0.5);
    std::fill_n(scores.begin(), sinks, 0.95);
    add_text(study, scores);
  }
  CHECK(std::abs(100 * summarise(study, legacy_rule, {}).rate.mean - 40.70) < 0.0051);
}

TEST_CASE("[sink_study] threshold then average is not average then threshold") {
  SinkStudy study = study_of(1, 4, 2);
  add_text(study, {1.0, 0.95, 0.92, 0.2});
  add_text(study, {0.7, 0.89, 0.95, 0.2});
  const SinkSummary summary = summarise(study, legacy_rule, {});
  CHECK(summary.rate.mean == doctest::Approx(0.5));  // 3 of 4, then 1 of 4
  CHECK(summary.rate.sd == doctest::Approx(std::sqrt(0.125)));
  CHECK(summary.rate.standard_error() == doctest::Approx(0.25));
  CHECK(summary.rate_of_mean == doctest::Approx(0.5));  // means .85 .92 .935 .2
  // The same flags with lower scores behind them: only the mean moves across the threshold.
  study.prompts[1].score[static_cast<size_t>(SinkMetric::share0)] = {0.1, 0.1, 0.95, 0.2};
  const SinkSummary lower = summarise(study, legacy_rule, {});
  CHECK(lower.rate.mean == summary.rate.mean);
  CHECK(lower.rate_of_mean == doctest::Approx(0.25));  // means .55 .525 .935 .2
  CHECK(lower.layers[0].rate_of_mean == doctest::Approx(0.25));
  CHECK(lower.layers[0].rate == doctest::Approx(0.5));
  CHECK(summary.group_rate.mean == doctest::Approx(0.25));
  CHECK(summary.always == doctest::Approx(0.25));
  CHECK(summary.never == doctest::Approx(0.25));
  CHECK(summary.heads[0].sink_share == 0.5);
  CHECK(summary.heads[0].score[static_cast<size_t>(SinkMetric::share0)].sd ==
        doctest::Approx(0.3 / std::sqrt(2)));
  CHECK(summary.heads[0].score[static_cast<size_t>(SinkMetric::alpha)].count == 0);
  // The legacy threshold is inclusive, alpha's is not.
  CHECK(SinkRule{SinkMetric::share0, 0.9}.holds(0.9));
  CHECK_FALSE(SinkRule{SinkMetric::alpha, 0.3}.holds(0.3));
}

TEST_CASE("[sink_study] the correlation is the mean over pairs of texts with scores of the same heads") {
  const auto pearson = [](const std::vector<double>& a, const std::vector<double>& b) {
    double n = 0, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(a[i])) continue;
      ++n, sa += a[i], sb += b[i], saa += a[i] * a[i], sbb += b[i] * b[i], sab += a[i] * b[i];
    }
    return (n * sab - sa * sb) / std::sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
  };
  SinkStudy study = study_of(1, 4, 2);
  std::vector<std::vector<double>> all{{1.0, 0.95, 0.92, 0.2}, {0.7, 0.89, 0.95, 0.2}, {0.1, 0.4, 0.2, 0.8}};
  const std::vector<std::vector<double>> gaps{{kNone, 0.5, 0.1, 0.9}, {kNone, 0.2, 0.3, 0.7}};
  for (const auto& scores : all) add_text(study, scores);
  add_text(study, std::vector<double>(4, 0.5));  // no spread: in no pair
  const double whole = pearson(all[0], all[1]) + pearson(all[0], all[2]) + pearson(all[1], all[2]);
  CHECK(summarise(study, legacy_rule, {}).correlation == doctest::Approx(whole / 3));
  for (const auto& scores : gaps) add_text(study, scores);
  CHECK(summarise(study, legacy_rule, {}).correlation ==
        doctest::Approx((whole + pearson(gaps[0], gaps[1])) / 4));
}

TEST_CASE("[sink_study] a text without the score counts for nothing") {
  SinkStudy study = study_of(1, 4, 2);
  add_text(study, {1.0, 0.95, 0.92, 0.2});
  add_text(study, {0.7, 0.89, 0.95, 0.2});
  const SinkSummary before = summarise(study, legacy_rule, {});
  add_text(study, std::vector<double>(4, kNone));
  const SinkSummary after = summarise(study, legacy_rule, {});
  CHECK(after.rate.count == 2);
  CHECK(after.rate.mean == before.rate.mean);
  CHECK(after.rate_of_mean == before.rate_of_mean);
  CHECK(after.group_rate.mean == before.group_rate.mean);
  CHECK(after.always == before.always);
  CHECK(after.correlation == before.correlation);
  for (size_t h = 0; h < 4; ++h) CHECK(after.heads[h].sink_share == before.heads[h].sink_share);
  SinkStudy none = study_of(1, 4, 2);
  add_text(none, std::vector<double>(4, kNone));
  const SinkSummary empty = summarise(none, legacy_rule, {});
  CHECK(std::isnan(empty.rate.mean));
  CHECK(std::isnan(empty.group_rate.mean));
  CHECK(empty.heads[0].sink_share == 0);
}

TEST_CASE("[sink_study] the sweep holds the rule's threshold and falls") {
  const SinkStudy study = synthetic_study({});
  const SinkSummary summary = summarise(study, {SinkMetric::share0, 0.73}, {});
  bool found = false;
  for (size_t i = 0; i < summary.sweep.size(); ++i) {
    if (i > 0) CHECK(summary.sweep[i].rate <= summary.sweep[i - 1].rate);
    found = found || (summary.sweep[i].threshold == 0.73 && summary.sweep[i].rate == summary.rate.mean);
  }
  CHECK(found);
}

TEST_CASE("[sink_study] lengths: alpha of prefixes, nothing behind the text") {
  LayerSinks layer{.layer = 0, .kv_heads = 1, .tokens = 4};
  layer.heads.push_back({});
  layer.curve.push_back({1.0F, 0.5F, 0.3F, 0.2F});
  const int64_t lengths[] = {2, 4, 8};
  const PromptSinks prompt = prompt_sinks("text", {&layer, 1}, {}, lengths);
  CHECK(prompt.alpha_at[0][0] == doctest::Approx(0.75));
  CHECK(prompt.alpha_at[1][0] == doctest::Approx(0.5));
  CHECK(std::isnan(prompt.alpha_at[2][0]));
}
