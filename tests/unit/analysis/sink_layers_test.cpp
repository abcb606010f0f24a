// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sink_study.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

#include <cmath>

#include "support/errors.hpp"
#include "unit/analysis/sink_studies.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using test::add_text;
using test::legacy_rule;
using test::study_of;

namespace {

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

/// One text of a published table: Llama-3.2-1B (16 layers) at 0.9, Llama-3.1-8B (32 layers) at 0.8; shares in
/// percent.
struct Published {
  const char* text;
  int64_t layers, sinks, first_sinks;
  double rate, p_later, base, lift, p_later_not;
};
constexpr Published published[] = {
    {"1B, Hello world", 16, 366, 19, 71.48, 74.04, 72.29, 1.02, 69.74},
    {"1B, The quick brown fox", 16, 153, 11, 29.88, 28.48, 29.58, 0.96, 30.16},
    {"1B, I went to the store", 16, 185, 11, 36.13, 41.21, 36.25, 1.14, 33.65},
    {"1B, The rain in Spain", 16, 180, 10, 35.16, 36.67, 35.42, 1.04, 34.85},
    {"1B, Artificial intelligence", 16, 158, 7, 30.86, 38.10, 31.46, 1.21, 29.60},
    {"1B, longer prompt", 16, 117, 3, 22.85, 26.67, 23.75, 1.12, 23.4},
    {"8B, Heyyyyy", 32, 645, 12, 62.99, 66.94, 63.81, 0, 61.94},
    {"8B, The quick brown fox", 32, 698, 19, 68.16, 69.95, 68.45, 0, 66.25},
    {"8B, I went to the store", 32, 827, 16, 80.76, 81.25, 81.75, 0, 82.26},
    {"8B, Artificial intelligence", 32, 729, 15, 71.19, 72.90, 71.98, 0, 71.16},
    {"8B, The rain in Spain", 32, 739, 15, 72.17, 73.76, 72.98, 0, 72.30}};

}  // namespace

TEST_CASE("[sink_layers] published tables: rate, P(later | first), base rate, lift from the counts") {
  // Whole numbers of heads reproduce every printed digit (half of 0.01 %; 0.1 % for the decoded row).
  for (const Published& row : published) {
    CAPTURE(row.text);
    const int64_t pairs = row.first_sinks * (row.layers - 1);
    const auto given = static_cast<int64_t>(std::lround(row.p_later / 100 * static_cast<double>(pairs)));
    const int64_t other = row.sinks - row.first_sinks - given;
    const SinkStudy study = study_with_counts(row.layers, 32, row.first_sinks, given, other);
    const AcrossLayers across = across_layers(study, legacy_rule);
    const auto percent = [](double got, double want, double half = 0.0051) {
      CHECK(std::abs(100 * got - want) < half);
    };
    CHECK(across.first_sinks == row.first_sinks);
    percent(summarise(study, legacy_rule, {}).rate.mean, row.rate);
    percent(across.p_later, row.p_later);
    percent(across.base, row.base);
    percent(across.p_later_not, row.p_later_not, row.p_later_not == 23.4 ? 0.051 : 0.0051);
    if (row.lift > 0) CHECK(std::abs(across.lift - row.lift) < 0.0051);
    CHECK(across.lift == doctest::Approx(across.p_later / across.base));
    // Phi of two flags is their Pearson correlation: the difference of the conditional rates times the
    // quotient of the standard deviations. The published range over the texts is -0.04 .. 0.08.
    const double first = static_cast<double>(row.first_sinks) / 32;
    const double wanted = (across.p_later - across.p_later_not) *
                          std::sqrt(first * (1 - first) / (across.base * (1 - across.base)));
    CHECK(across.phi == doctest::Approx(wanted).epsilon(1e-9));
    CHECK(across.phi > -0.04);
    CHECK(across.phi < 0.08);
    CHECK(across.low <= across.p_later);
    CHECK(across.high >= across.p_later);
    CHECK(across.reason.empty());
  }
}

TEST_CASE(
    "[sink_layers] phi is 1 for the same heads in every layer, and there is no number without a first-layer "
    "sink") {
  SinkStudy study = study_of(3, 4);
  add_text(study, {.95, .1, .95, .1, .95, .1, .95, .1, .95, .1, .95, .1});
  const AcrossLayers across = across_layers(study, legacy_rule);
  CHECK(across.phi == doctest::Approx(1));
  CHECK(across.phi_adjacent == doctest::Approx(1));
  CHECK(across.p_later == 1);
  CHECK(across.low == 1);
  SinkStudy none = study_of(2, 2);
  add_text(none, {.1, .1, .95, .95});
  CHECK(std::isnan(across_layers(none, legacy_rule).p_later));
  CHECK(test::holds(across_layers(none, legacy_rule).reason, "no head of the first layer"));
  SinkStudy one = study_of(1, 2);
  add_text(one, {.95, .95});
  CHECK(test::holds(across_layers(one, legacy_rule).reason, "one layer"));
}

TEST_CASE("[sink_layers] the interval is that of a mean over head indices") {
  // 64 heads, all sinks in the first layer, of which h % 5 of 8 later layers are: the bootstrap of a mean has
  // the standard error sd / sqrt(64).
  SinkStudy study = study_of(9, 64);
  std::vector<double> scores(9 * 64, 0.1);
  double squares = 0, mean = 0;
  for (int h = 0; h < 64; ++h) {
    scores[static_cast<size_t>(h)] = 0.95;
    for (int l = 1; l <= h % 5; ++l) scores[static_cast<size_t>(l * 64 + h)] = 0.95;
    mean += (h % 5) / 8.0 / 64;
    squares += std::pow((h % 5) / 8.0, 2) / 64;
  }
  add_text(study, scores);
  const AcrossLayers one = across_layers(study, legacy_rule);
  const double error = std::sqrt(squares - mean * mean) / 8;
  CHECK(one.p_later == doctest::Approx(mean));
  // 2,000 draws know a 2.5 % quantile to about 0.06 standard errors; shares come in steps of 0.09.
  CHECK(std::abs(one.low - (mean - 1.96 * error)) < 0.25 * error);
  CHECK(std::abs(one.high - (mean + 1.96 * error)) < 0.25 * error);
  // The same heads in 30 more texts are no more heads: the interval stays.
  for (int text = 0; text < 30; ++text) add_text(study, scores);
  const AcrossLayers many = across_layers(study, legacy_rule);
  CHECK(many.first_sinks == 31 * 64);
  CHECK(many.low == doctest::Approx(one.low));
  CHECK(many.high == doctest::Approx(one.high));
  CHECK(across_layers(study, legacy_rule, 3).p_later == doctest::Approx(mean));
}

TEST_CASE("[sink_layers] one head index has no interval, texts without the score count for nothing") {
  SinkStudy study = study_of(2, 4);
  add_text(study, {.95, .1, .1, .1, .95, .95, .1, .1});
  add_text(study, {.95, .1, .1, .1, .1, .95, .1, .1});
  const AcrossLayers before = across_layers(study, legacy_rule);
  CHECK(before.p_later == doctest::Approx(0.5));
  CHECK(before.base == doctest::Approx(3.0 / 8));
  CHECK(std::isnan(before.low));
  add_text(study, std::vector<double>(8, kNone));
  const AcrossLayers after = across_layers(study, legacy_rule);
  CHECK(after.base == before.base);
  CHECK(after.p_later_not == before.p_later_not);
  CHECK(after.phi == before.phi);
  CHECK(after.phi_adjacent == before.phi_adjacent);
  const AcrossLayers alone = across_layers(study, legacy_rule, 2);
  CHECK(std::isnan(alone.base));
  CHECK(test::holds(alone.reason, "no text has this score"));
  // The ratio does not exist in a layer whose window is one token: the first layer here.
  SinkStudy partial = study_of(3, 4);
  add_text(partial, {kNone, kNone, kNone, kNone, .95, .1, .1, .95, .95, .1, .1, .1});
  const AcrossLayers later = across_layers(partial, legacy_rule);
  CHECK(std::isnan(later.base));
  CHECK(later.first_sinks == 0);
  CHECK(test::holds(later.reason, "no text has this score"));
  // Or in a later one.
  SinkStudy gap = study_of(3, 2);
  add_text(gap, {.95, .1, kNone, kNone, .95, .1});
  CHECK(across_layers(gap, legacy_rule).base == doctest::Approx(0.5));
  CHECK(across_layers(gap, legacy_rule).p_later == 1);
  SinkStudy uneven = study_of(2, 2);
  uneven.heads.push_back({1, 2, 0});
  uneven.heads.push_back({1, 3, 0});
  add_text(uneven, {.95, .95, .95, .95, .95, .95});
  CHECK(test::holds(across_layers(uneven, legacy_rule).reason, "numbers of heads"));
}
