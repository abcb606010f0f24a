// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sink_study.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/analysis/synthetic_sinks.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

const SinkRule legacy{SinkMetric::share0, 0.9};

SinkStudy study_of(int64_t layers, int64_t heads, int64_t kv_heads = 1) {
  SinkStudy study;
  for (int64_t l = 0; l < layers; ++l)
    for (int64_t h = 0; h < heads; ++h)
      study.heads.push_back(
          {static_cast<int>(l), static_cast<int>(h), static_cast<int>(h / (heads / kv_heads))});
  return study;
}

/// A text with the given share0 scores; every other metric has none.
void add_text(SinkStudy& study, const std::vector<double>& scores) {
  PromptSinks prompt{.name = "text", .tokens = 10};
  for (auto& score : prompt.score) score.assign(scores.size(), kNone);
  prompt.score[static_cast<size_t>(SinkMetric::share0)] = scores;
  study.prompts.push_back(prompt);
}

/// Flags with given counts: `first` sinks in layer 0, `later_given` sinks below them, `later_other` below the
/// rest.
SinkStudy study_with_counts(int64_t layers, int64_t heads, int64_t first, int64_t later_given,
                            int64_t later_other) {
  SinkStudy study = study_of(layers, heads);
  std::vector<double> scores(static_cast<size_t>(layers * heads), 0.1);
  for (int64_t h = 0; h < first; ++h) scores[static_cast<size_t>(h)] = 0.95;
  for (int64_t i = 0; i < later_given; ++i)
    scores[static_cast<size_t>((1 + i / first) * heads + i % first)] = 0.95;
  const int64_t rest = heads - first;
  for (int64_t i = 0; i < later_other; ++i)
    scores[static_cast<size_t>((1 + i / rest) * heads + first + i % rest)] = 0.95;
  add_text(study, scores);
  return study;
}

}  // namespace

TEST_CASE("[sink_study] published counts of Llama-3.2-1B: P(later | first), base rate, lift") {
  // Hello world at 0.9: 366 sinks of 512, 19 in layer 0, P(later | first) 74.04 %, otherwise 69.74 %.
  const AcrossLayers hello = across_layers(study_with_counts(16, 32, 19, 211, 136), legacy);
  CHECK(hello.first_sinks == 19);
  CHECK(hello.p_later == doctest::Approx(0.7404).epsilon(1e-4));
  CHECK(hello.base == doctest::Approx(0.7229).epsilon(1e-4));
  CHECK(hello.p_later_not == doctest::Approx(0.6974).epsilon(1e-4));
  CHECK(hello.lift == doctest::Approx(1.02).epsilon(0.005));
  CHECK(hello.low < hello.p_later);
  CHECK(hello.high > hello.p_later);
  // The quick brown fox: 153 sinks, 11 in layer 0, 28.48 % against 29.58 %.
  const AcrossLayers fox = across_layers(study_with_counts(16, 32, 11, 47, 95), legacy);
  CHECK(fox.p_later == doctest::Approx(0.2848).epsilon(1e-4));
  CHECK(fox.base == doctest::Approx(0.2958).epsilon(1e-4));
  CHECK(fox.lift == doctest::Approx(0.96).epsilon(0.01));
  CHECK(fox.p_later_not == doctest::Approx(0.3016).epsilon(1e-4));
  CHECK(fox.phi < 0);
}

TEST_CASE(
    "[sink_study] phi is 1 for the same heads in every layer, and there is no number without a first-layer "
    "sink") {
  SinkStudy study = study_of(3, 4);
  add_text(study, {.95, .1, .95, .1, .95, .1, .95, .1, .95, .1, .95, .1});
  const AcrossLayers across = across_layers(study, legacy);
  CHECK(across.phi == doctest::Approx(1));
  CHECK(across.phi_adjacent == doctest::Approx(1));
  CHECK(across.p_later == 1);
  CHECK(across.low == 1);
  SinkStudy none = study_of(2, 2);
  add_text(none, {.1, .1, .95, .95});
  CHECK(std::isnan(across_layers(none, legacy).p_later));
  CHECK(test::holds(across_layers(none, legacy).reason, "no head of the first layer"));
  SinkStudy one = study_of(1, 2);
  add_text(one, {.95, .95});
  CHECK(test::holds(across_layers(one, legacy).reason, "one layer"));
}

TEST_CASE("[sink_study] layers of a published table average to its total") {
  // Llama-3.2-1B, sink % at 0.9 of layers 0..15, each of 32 heads; the average matrix has 34.96 %.
  const double percent[] = {34.38, 50.00, 62.50, 21.88, 28.12, 28.12, 9.38,  18.75,
                            15.62, 21.88, 40.62, 34.38, 43.75, 53.12, 59.38, 37.50};
  SinkStudy study = study_of(16, 32, 8);
  std::vector<double> scores;
  for (const double share : percent)
    for (int h = 0; h < 32; ++h) scores.push_back(h < std::lround(share * 32 / 100) ? 0.9 : 0.5);
  add_text(study, scores);
  const SinkSummary summary = summarise(study, legacy, {});
  CHECK(summary.rate.mean == doctest::Approx(0.3496).epsilon(1e-4));
  CHECK(summary.layers[6].rate == doctest::Approx(0.0938).epsilon(1e-3));
  CHECK(std::isnan(summary.rate.sd));
  CHECK(std::isnan(summary.correlation));
}

TEST_CASE("[sink_study] threshold then average is not average then threshold") {
  SinkStudy study = study_of(1, 4, 2);
  add_text(study, {1.0, 0.95, 0.92, 0.2});
  add_text(study, {0.7, 0.89, 0.95, 0.2});
  const SinkSummary summary = summarise(study, legacy, {});
  CHECK(summary.rate.mean == doctest::Approx(0.5));  // 3 of 4, then 1 of 4
  CHECK(summary.rate.sd == doctest::Approx(std::sqrt(0.125)));
  CHECK(summary.rate_of_mean == doctest::Approx(0.5));  // means .85 .92 .935 .2
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

TEST_CASE("[sink_study] merging two halves gives the whole, exactly") {
  const SinkStudy whole = synthetic_study({.lengths = {5, 10, 15, 20}});
  SinkStudy first = whole, second = whole;
  first.prompts.resize(2);
  second.prompts.erase(second.prompts.begin(), second.prompts.begin() + 2);
  const SinkSummary a = summarise(merge(first, second), legacy, {}), b = summarise(whole, legacy, {});
  CHECK(a.rate.mean == b.rate.mean);
  CHECK(a.rate.sd == b.rate.sd);
  CHECK(a.correlation == b.correlation);
  for (size_t h = 0; h < a.heads.size(); ++h) CHECK(a.heads[h].score[1].mean == b.heads[h].score[1].mean);
  SinkStudy other = study_of(2, 2);
  CHECK(!test::message_of<DataError>([&] { merge(other, whole); }).empty());
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

TEST_CASE("[synthetic] rates by length as the random model has them in expectation") {
  // Monte-Carlo expectation of the share at or above 0.9, n = 5, 10, 15, 20, 25: 9.4, 7.8, 6.4, 4.8, 3.8 %;
  // the spread between runs is at most 1.3 points, so the mean of 60 runs lies within 0.5 of it (3 standard
  // errors).
  const double expected[] = {0.094, 0.078, 0.064, 0.048, 0.038};
  double mean[5] = {};
  constexpr int runs = 60;
  for (uint64_t seed = 1; seed <= runs; ++seed) {
    const SinkStudy study = synthetic_study({.seed = seed});
    for (size_t i = 0; i < 5; ++i) {
      double sinks = 0;
      for (const double s : study.prompts[i].score[static_cast<size_t>(SinkMetric::share0)])
        sinks += s >= 0.9 ? 1 : 0;
      mean[i] += sinks / static_cast<double>(study.heads.size()) / runs;
    }
  }
  for (size_t i = 0; i < 5; ++i) CHECK(std::abs(mean[i] - expected[i]) < 0.006);
}

TEST_CASE("[synthetic] the same seed gives the same scores, another seed others") {
  const auto scores = [](uint64_t seed) { return synthetic_study({.seed = seed}).prompts[2].score[1]; };
  CHECK(scores(7) == scores(7));
  CHECK(scores(7) != scores(8));
  CHECK(!test::message_of<UsageError>([] { synthetic_study({.layers = 0}); }).empty());
  CHECK(!test::message_of<UsageError>([] { synthetic_study({.p_min = 0.9, .p_max = 0.1}); }).empty());
}

TEST_CASE("[synthetic] a fitted study has the layers' rates of what was measured") {
  SinkStudy measured = study_of(2, 32);
  std::vector<double> scores;
  for (int i = 0; i < 64; ++i) scores.push_back(i < 24 || i >= 60 ? 0.95 : 0.4);
  for (int text = 0; text < 20; ++text) add_text(measured, scores);
  double first = 0, second = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const SinkSummary drawn = summarise(fitted_study(measured, legacy, seed), legacy, {});
    first += drawn.layers[0].rate / 40;
    second += drawn.layers[1].rate / 40;
  }
  CHECK(std::abs(first - 24 / 32.0) < 0.05);
  CHECK(std::abs(second - 4 / 32.0) < 0.05);
}
