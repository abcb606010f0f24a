// SPDX-License-Identifier: MIT
#include "kvviz/analysis/synthetic_sinks.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/close.hpp"
#include "support/errors.hpp"
#include "unit/analysis/sink_studies.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using test::add_text;
using test::legacy_rule;
using test::study_of;

namespace {

const std::vector<double>& share0(const PromptSinks& prompt) {
  return prompt.score[static_cast<size_t>(SinkMetric::share0)];
}

double share_at_least(const std::vector<double>& values, double limit) {
  const auto above = std::ranges::count_if(values, [&](double x) { return x >= limit; });
  return static_cast<double>(above) / static_cast<double>(values.size());
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double sd_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

/// 100,000 scores all drawn from the Beta of sinks (p = 1) or of the others (p = 0).
std::vector<double> drawn(double p, double a, double b) {
  return share0(synthetic_study({.layers = 100,
                                 .heads = 1000,
                                 .kv_heads = 1000,
                                 .lengths = {10},
                                 .p_min = p,
                                 .p_max = p,
                                 .sink_a = a,
                                 .sink_b = b,
                                 .other_a = a,
                                 .other_b = b,
                                 .seed = 3})
                    .prompts[0]);
}

/// 20 texts of three layers of 32 heads: never a sink, mixed, always. In the middle layer 8 heads are sinks
/// in every text, 8 in every other text, 16 in none.
SinkStudy measured_study() {
  SinkStudy measured = study_of(3, 32);
  for (int text = 0; text < 20; ++text) {
    std::vector<double> scores;
    for (int h = 0; h < 32; ++h) scores.push_back(0.2 + 0.01 * h);
    for (int h = 0; h < 32; ++h)
      scores.push_back(h < 8 || (h < 16 && (text + h) % 2 == 0) ? 0.92 + 0.001 * h : 0.4 + 0.005 * h);
    for (int h = 0; h < 32; ++h) scores.push_back(0.91 + 0.002 * h);
    add_text(measured, scores);
  }
  return measured;
}

}  // namespace

TEST_CASE("[synthetic] rates by length as the random model has them in expectation") {
  // Share at or above 0.9 over runs, mean and standard deviation, by a Monte-Carlo of another program; the
  // figures are rounded to 0.1 points, and the mean of 400 runs is known to a twentieth of the deviation.
  const double expected[] = {9.4, 7.8, 6.4, 4.8, 3.8}, spread[] = {1.3, 1.0, 0.9, 0.7, 0.6};
  std::vector<double> percent[5];
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    const SinkStudy study = synthetic_study({.seed = seed});
    REQUIRE(study.prompts.size() == 5);
    REQUIRE(study.heads.size() == 1024);
    for (size_t i = 0; i < 5; ++i) percent[i].push_back(100 * share_at_least(share0(study.prompts[i]), 0.9));
  }
  for (size_t i = 0; i < 5; ++i) {
    CAPTURE(i);
    CHECK(std::abs(mean_of(percent[i]) - expected[i]) < 0.06 + 3 * spread[i] / 20);
    CHECK(std::abs(sd_of(percent[i]) - spread[i]) < 0.06 + 0.15 * spread[i]);
  }
}

TEST_CASE("[synthetic] sinks fall with depth, and a head keeps its tendency") {
  std::vector<double> by_layer(32), first_half(32), second_half(32);
  const SinkStudy study = synthetic_study({.lengths = std::vector<int64_t>(200, 5), .seed = 2});
  for (const PromptSinks& prompt : study.prompts) {
    for (size_t i = 0; i < study.heads.size(); ++i) {
      const double sink = share0(prompt)[i] >= 0.8 ? 1 : 0;
      const auto layer = static_cast<size_t>(study.heads[i].layer),
                 head = static_cast<size_t>(study.heads[i].head);
      by_layer[layer] += sink / (200 * 32);
      (layer < 16 ? first_half : second_half)[head] += sink;
    }
  }
  // P(sink) = base_l x 0.85 x 0.4 in the mean where neither bound cuts; the score then passes 0.8 with 0.859.
  CHECK(by_layer[0] > 3 * by_layer[31]);
  CHECK(by_layer[0] > by_layer[16]);
  CHECK(by_layer[16] > by_layer[31]);
  double product = 0;
  for (size_t h = 0; h < 32; ++h)
    product += (first_half[h] - mean_of(first_half)) * (second_half[h] - mean_of(second_half));
  CHECK(product / (31 * sd_of(first_half) * sd_of(second_half)) > 0.9);
}

TEST_CASE("[synthetic] the probability falls with length down to the floor") {
  const auto scores = [](int64_t n, double slope, double floor) {
    return share0(synthetic_study({.lengths = {n}, .slope = slope, .floor = floor}).prompts[0]);
  };
  CHECK(scores(20, 0.03, 0.2) == scores(40, 0.015, 0.2));  // 1 - 0.6 both
  CHECK(scores(20, 0.03, 0.2) != scores(20, 0.015, 0.2));
  CHECK(scores(1000, 0.03, 0.5) == scores(50, 0.01, 0.2));
  CHECK(scores(1000, 0.03, 0.2) != scores(50, 0.01, 0.2));
}

TEST_CASE("[synthetic] scores of sinks and of others follow their Beta distributions") {
  // 100,000 draws: standard errors are at most 0.0016 for a share and 0.001 for a mean.
  const std::vector<double> sinks = drawn(1, 15, 2), others = drawn(0, 2, 5), low = drawn(1, 0.5, 0.5);
  CHECK(std::abs(mean_of(sinks) - 15.0 / 17) < 0.001);
  CHECK(std::abs(sd_of(sinks) - std::sqrt(30.0 / (289 * 18))) < 0.001);
  // P(X >= x) of Beta(15, 2) is 1 - 16 x^15 + 15 x^16.
  CHECK(std::abs(share_at_least(sinks, 0.9) - (1 - 16 * std::pow(0.9, 15) + 15 * std::pow(0.9, 16))) < 0.005);
  CHECK(std::abs(share_at_least(sinks, 0.8) - 0.859) < 0.005);
  CHECK(std::abs(mean_of(others) - 2.0 / 7) < 0.002);
  CHECK(std::abs(sd_of(others) - std::sqrt(10.0 / (49 * 8))) < 0.002);
  CHECK(std::abs(share_at_least(others, 0.8) - 0.0016) < 0.0005);
  // Shapes below 1: the arcsine distribution, P(X >= x) = 1 - 2 asin(sqrt x) / pi.
  CHECK(std::abs(mean_of(low) - 0.5) < 0.004);
  CHECK(std::abs(share_at_least(low, 0.9) - (1 - 2 * std::asin(std::sqrt(0.9)) / std::acos(-1.0))) < 0.005);
}

TEST_CASE("[synthetic] a seed gives the scores that a second program computes from the same description") {
  const auto all = [](const SyntheticOptions& options) {
    std::vector<double> scores;
    for (const PromptSinks& prompt : synthetic_study(options).prompts)
      scores.insert(scores.end(), share0(prompt).begin(), share0(prompt).end());
    return scores;
  };
  // Mersenne Twister 19937-64, Box-Muller, Marsaglia-Tsang in Python; the C libraries differ in last digits.
  test::check_close(all({.layers = 2, .heads = 3, .kv_heads = 3, .lengths = {5}, .seed = 1}),
                    std::vector<double>{0.768889313167650, 0.154770581206818, 0.845623002537100,
                                        0.437547553668399, 0.211535126751754, 0.316641189347414},
                    {.abs = 1e-12});
  test::check_close(
      all({.layers = 1, .heads = 4, .kv_heads = 2, .lengths = {10, 30}, .seed = 20240501}),
      std::vector<double>{0.162855766941849, 0.222820530762738, 0.650002342175512, 0.940027159183867,
                          0.317814488249411, 0.117280124498513, 0.082565688741852, 0.270524775926813},
      {.abs = 1e-12});
  test::check_close(
      all({.layers = 2,
           .heads = 2,
           .kv_heads = 1,
           .lengths = {5},
           .tendency_a = 0.5,
           .tendency_b = 0.5,
           .seed = 7}),
      std::vector<double>{0.043860709620991, 0.910971229842987, 0.634511625436534, 0.412214958278346},
      {.abs = 1e-12});
  CHECK(all({.seed = 7}) == all({.seed = 7}));
  CHECK(all({.seed = 7}) != all({.seed = 8}));
}

TEST_CASE("[synthetic] metrics that follow from the share are derived, the others do not exist") {
  const SinkStudy study = synthetic_study({.layers = 2, .heads = 4, .kv_heads = 2, .lengths = {5}});
  const PromptSinks& prompt = study.prompts[0];
  CHECK(prompt.tokens == 5);
  CHECK((study.heads[7] == HeadName{1, 3, 1}));
  constexpr double uniform = (1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0) / 5;
  for (size_t h = 0; h < 8; ++h) {
    const double share = share0(prompt)[h];
    CHECK(prompt.score[static_cast<size_t>(SinkMetric::share0_later)][h] ==
          doctest::Approx((5 * share - 1) / 4));
    CHECK(prompt.score[static_cast<size_t>(SinkMetric::excess)][h] ==
          doctest::Approx((share - uniform) / (1 - uniform)));
    for (const SinkMetric none : {SinkMetric::alpha, SinkMetric::recent, SinkMetric::ratio})
      CHECK(std::isnan(prompt.score[static_cast<size_t>(none)][h]));
  }
}

TEST_CASE("[synthetic] options that make no sense are refused") {
  const auto refused = [](const SyntheticOptions& o) {
    return test::message_of<UsageError>([&] { synthetic_study(o); });
  };
  CHECK(test::holds(refused({.layers = 0}), "--num-layers"));
  CHECK(test::holds(refused({.heads = 32, .kv_heads = 5}), "--num-kv-heads"));
  CHECK(test::holds(refused({.lengths = {5, 1}}), "--sequence-lengths"));
  CHECK(test::holds(refused({.p_min = 0.9, .p_max = 0.1}), "--p-min"));
  CHECK(test::holds(refused({.noise = -1}), "--noise"));
  CHECK(test::holds(refused({.sink_b = 0}), "Beta"));
}

TEST_CASE("[synthetic] a fitted study has the layers' rates and scores of what was measured") {
  const SinkStudy measured = measured_study();
  const SinkSummary wanted = summarise(measured, legacy_rule, {});
  REQUIRE(wanted.layers[1].rate == doctest::Approx(12 / 32.0));
  std::vector<double> rates, scores[3], spread;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const SinkStudy study = fitted_study(measured, legacy_rule, seed);
    REQUIRE((study.heads == measured.heads));
    REQUIRE(study.prompts.size() == 20);
    CHECK(study.prompts[4].tokens == measured.prompts[4].tokens);
    const SinkSummary fitted = summarise(study, legacy_rule, {});
    // Where all heads are alike there is no chance in the rate.
    CHECK(fitted.layers[0].rate == 0);
    CHECK(fitted.layers[2].rate == 1);
    rates.push_back(fitted.layers[1].rate);
    for (size_t l = 0; l < 3; ++l) scores[l].push_back(fitted.layers[l].score.mean);
    std::vector<double> shares;
    for (size_t h = 32; h < 64; ++h) shares.push_back(fitted.heads[h].sink_share);
    spread.push_back(std::pow(sd_of(shares), 2) * 31 / 32);
  }
  const auto close = [](const std::vector<double>& got, double want) {
    CHECK(std::abs(mean_of(got) - want) <= 4 * sd_of(got) / std::sqrt(static_cast<double>(got.size())));
  };
  close(rates, 12 / 32.0);
  close(scores[0], wanted.layers[0].score.mean);
  close(scores[1], wanted.layers[1].score.mean);
  // Draws below the threshold are thrown away, which raises the mean of the Beta that is left.
  CHECK(std::abs(mean_of(scores[2]) - wanted.layers[2].score.mean) < 0.01);
  // Sink shares of heads vary as those measured: 8 of 1, 8 of 1/2, 16 of 0. The population variance of 32
  // draws is 31/32 of that of one.
  const double variance = (8 * std::pow(1 - .375, 2) + 8 * std::pow(.5 - .375, 2) + 16 * .375 * .375) / 32;
  close(spread, variance * 31 / 32);
}

TEST_CASE("[synthetic] heads that differ by chance alone are fitted as alike") {
  // One in four texts makes a sink of every head, each head in other texts: all shares are equal.
  SinkStudy measured = study_of(1, 64);
  for (int text = 0; text < 16; ++text) {
    std::vector<double> scores;
    for (int h = 0; h < 64; ++h) scores.push_back((text + h) % 4 == 0 ? 0.95 : 0.3);
    add_text(measured, scores);
  }
  double variance = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const SinkSummary fitted = summarise(fitted_study(measured, legacy_rule, seed), legacy_rule, {});
    std::vector<double> shares;
    for (const StudyHead& head : fitted.heads) shares.push_back(head.sink_share);
    variance += std::pow(sd_of(shares), 2) / 50;
  }
  CHECK(variance == doctest::Approx(0.25 * 0.75 / 16).epsilon(0.1));  // 50 x 63 degrees of freedom: 2.5 %
}

TEST_CASE("[synthetic] fitting: one text, texts without a score, metrics that are no share") {
  SinkStudy one = study_of(1, 32);
  std::vector<double> scores(32, 0.3);
  std::fill_n(scores.begin(), 8, 0.95);
  add_text(one, scores);
  double rate = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed)
    rate += summarise(fitted_study(one, legacy_rule, seed), legacy_rule, {}).rate.mean / 200;
  CHECK(std::abs(rate - 0.25) < 4 * std::sqrt(0.25 * 0.75 / 32 / 200));
  add_text(one, std::vector<double>(32, kNone));
  const SinkStudy fitted = fitted_study(one, legacy_rule, 1);
  CHECK(std::ranges::all_of(share0(fitted.prompts[1]), [](double x) { return std::isnan(x); }));
  CHECK(std::ranges::none_of(share0(fitted.prompts[0]), [](double x) { return std::isnan(x); }));
  CHECK(test::holds(test::message_of<DataError>([&] {
                      fitted_study(one, {SinkMetric::ratio, 10}, 1);
                    }),
                    "ratio"));
  CHECK(test::holds(test::message_of<DataError>([&] {
                      fitted_study(one, {SinkMetric::alpha, 0.3}, 1);
                    }),
                    "no score"));
}
