// SPDX-License-Identifier: MIT
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/compare.hpp"
#include "kvviz/model/load.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

/// A text whose predictions differ by `differences`.
PairedScores text_of(std::vector<double> differences, double kl = 0) {
  PairedScores scores;
  for (const double difference : differences) {
    scores.nll_full.push_back(2);
    scores.nll.push_back(2 + difference);
    scores.kl.push_back(kl);
    scores.agrees.push_back(difference == 0 ? 1 : 0);
  }
  return scores;
}

}  // namespace

TEST_CASE("[quality_loss] texts of different lengths are clusters weighted by their predictions") {
  const std::vector<PairedScores> texts{text_of({0.1, 0.3}, 0.2), text_of({0.5}, 0.5)};
  const QualityLoss loss = quality_loss(texts);
  CHECK(loss.delta_nll == doctest::Approx(0.3));
  // Residuals 0.4 - 2 x 0.3 and 0.5 - 0.3; sqrt(2 (0.04 + 0.04)) / 3.
  CHECK(loss.delta_nll_se == doctest::Approx(0.4 / 3));
  CHECK(loss.kl == doctest::Approx(0.3));
  CHECK(loss.kl_max == 0.5);
  CHECK(loss.top1_agreement == 0);
  // nll_full does not vary here, so only the other run's error is left.
  CHECK(loss.delta_ppl_se == doctest::Approx(loss.ppl * 0.4 / 3));
}

TEST_CASE("[quality_loss] the first predictions and the rest are judged apart, and add up") {
  const std::vector<PairedScores> texts{text_of({0, 0, 0.4, 0.2}), text_of({0, 0}), text_of({0, 0, 0.3})};
  const QualityLoss early = quality_loss(texts, 0, 2), late = quality_loss(texts, 2);
  CHECK(early.texts == 3);
  CHECK(early.tokens == 6);
  CHECK(early.delta_nll == 0);
  CHECK(early.delta_nll_se == 0);
  CHECK(early.delta_ppl == 0);
  CHECK(early.delta_ppl_se == 0);
  CHECK(early.kl_max == 0);
  CHECK(early.top1_agreement == 1);
  CHECK(late.texts == 2);  // one ends before
  CHECK(late.tokens == 3);
  CHECK(late.delta_nll == doctest::Approx(0.3));
  CHECK(early.tokens + late.tokens == quality_loss(texts).tokens);
}

TEST_CASE("[quality_loss] when one text alone is long enough, its blocks are the clusters") {
  std::vector<double> differences(36, 0.0);
  differences[35] = 0.36;  // blocks of 32 and 4
  const std::vector<PairedScores> texts{text_of({0.0}), text_of(differences)};
  const QualityLoss loss = quality_loss(texts, 0, 1);
  CHECK(loss.texts == 2);
  CHECK(loss.tokens == 2);
  const std::vector<PairedScores> alone{text_of({}), text_of(differences)};
  const QualityLoss blocks = quality_loss(alone);
  CHECK(blocks.texts == 1);
  // Mean 0.01; residuals -0.32 and 0.36 - 0.04; sqrt(2 x 2 x 0.1024) / 36.
  CHECK(blocks.delta_nll_se == doctest::Approx(0.64 / 36));
}

TEST_CASE("[compare] KL equals the double sum over the same logits, also where it is tiny") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const Decoder& decoder = model.decoder;
  const int64_t rows = 40, hidden = decoder.config().hidden;
  const std::vector<int32_t> ids(static_cast<size_t>(rows) + 1, 3);
  const at::Tensor full = at::randn({rows, hidden});
  const at::Tensor tests[] = {full.add(at::randn({rows, hidden}), 1e-4),
                              full.add(at::randn({rows, hidden}), 0.5)};
  const auto all = compare_predictions(decoder, full, tests, ids);
  const at::Tensor p = at::log_softmax(decoder.logits(full).to(at::kDouble), -1);
  for (size_t t = 0; t < 2; ++t) {
    const at::Tensor q = at::log_softmax(decoder.logits(tests[t]).to(at::kDouble), -1);
    const at::Tensor kl = p.exp().mul(p.sub(q)).sum(-1);
    for (int64_t i = 0; i < rows; ++i) {
      const double want = kl[i].item<double>();
      // log-sum-exp is good to 4e-7, of which KL takes a relative error; the reference sum has 1e-14.
      CHECK(std::abs(all[t].kl[static_cast<size_t>(i)] - want) < 1e-6 * want + 1e-13);
    }
    CHECK(all[t].nll_full == all[0].nll_full);
  }
}

TEST_CASE("[compare] of equal logits the first is the most likely") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const Decoder& decoder = model.decoder;
  const int64_t hidden = decoder.config().hidden, vocabulary = decoder.config().vocabulary;
  const std::vector<int32_t> ids{1, 2, 3};
  const at::Tensor full = at::zeros({2, hidden});
  at::Tensor other = at::zeros({2, hidden});
  other[1].copy_(at::randn({hidden}));
  const auto scores = compare_predictions(decoder, full, {&other, 1}, ids);
  CHECK(scores[0].nll_full[0] == doctest::Approx(std::log(static_cast<double>(vocabulary))));
  CHECK(scores[0].agrees[0] == 1);
  CHECK((scores[0].agrees[1] == 1) == (decoder.logits(other)[1].argmax().item<int64_t>() == 0));
}

TEST_CASE("[compare] hidden states that are not finite are refused") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const int64_t hidden = model.decoder.config().hidden;
  const std::vector<int32_t> ids{1, 2, 3};
  const at::Tensor full = at::zeros({2, hidden});
  const at::Tensor broken = at::full({2, hidden}, std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_WITH_AS(compare_predictions(model.decoder, full, {&broken, 1}, ids),
                       doctest::Contains("token 1"), DataError);
  CHECK_THROWS_AS(compare_predictions(model.decoder, broken, {&full, 1}, ids), DataError);
}
