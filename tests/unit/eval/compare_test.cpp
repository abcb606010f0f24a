// SPDX-License-Identifier: MIT
#include "kvviz/eval/compare.hpp"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

PairedScores scores_of(std::vector<double> full, std::vector<double> test) {
  PairedScores scores{.nll_full = std::move(full), .nll = std::move(test)};
  scores.kl.assign(scores.nll.size(), 0.25);
  scores.agrees.assign(scores.nll.size(), 1);
  return scores;
}

}  // namespace

TEST_CASE("[compare] NLL, KL and agreement equal those of whole log-softmax rows in double") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const Decoder& decoder = model.decoder;
  const int64_t rows = 300, hidden = decoder.config().hidden;  // more than one chunk
  std::vector<int32_t> ids;
  for (int64_t i = 0; i <= rows; ++i)
    ids.push_back(static_cast<int32_t>(i * 7 % decoder.config().vocabulary));
  const at::Tensor full = at::randn({rows + 1, hidden}), near = full.add(at::randn({rows + 1, hidden}), 0.1);
  const at::Tensor tests[] = {full, near};
  const auto all = compare_predictions(decoder, full, tests, ids);
  REQUIRE(all.size() == 2);
  REQUIRE(all[1].kl.size() == static_cast<size_t>(rows));
  const at::Tensor p = at::log_softmax(decoder.logits(full).to(at::kDouble), -1);
  const at::Tensor q = at::log_softmax(decoder.logits(near).to(at::kDouble), -1);
  const at::Tensor kl = p.exp().mul(p.sub(q)).sum(-1);
  const at::Tensor same = p.argmax(-1).eq(q.argmax(-1));
  for (int64_t i = 0; i < rows; ++i) {
    const auto at = static_cast<size_t>(i);
    const int32_t right = ids[at + 1];
    CHECK(all[1].nll_full[at] == doctest::Approx(-p[i][right].item<double>()).epsilon(1e-5));
    CHECK(all[1].nll[at] == doctest::Approx(-q[i][right].item<double>()).epsilon(1e-5));
    CHECK(std::abs(all[1].kl[at] - kl[i].item<double>()) < 1e-5);
    CHECK((all[1].agrees[at] == 1) == same[i].item<bool>());
    CHECK(all[0].kl[at] == 0);
    CHECK(all[0].agrees[at] == 1);
    CHECK(all[0].nll[at] == all[0].nll_full[at]);
  }
  CHECK(all[1].nll_full == score(decoder, full, ids).nll);
}

TEST_CASE("[compare] means, perplexities and clustered standard errors by hand") {
  // Two texts of 2 and 1 predictions: differences 0.1, 0.3 | 0.2; mean 0.2, cluster residuals 0 and 0.
  const std::vector<PairedScores> even{scores_of({1, 2}, {1.1, 2.3}), scores_of({3}, {3.2})};
  const QualityLoss loss = quality_loss(even);
  CHECK(loss.texts == 2);
  CHECK(loss.tokens == 3);
  CHECK(loss.delta_nll == doctest::Approx(0.2));
  CHECK(std::abs(loss.delta_nll_se) < 1e-12);
  CHECK(loss.ppl_full == doctest::Approx(std::exp(2.0)));
  CHECK(loss.delta_ppl == doctest::Approx(std::exp(2.2) - std::exp(2.0)));
  CHECK(loss.kl == doctest::Approx(0.25));
  CHECK(loss.top1_agreement == 1);
  // Differences 0.4 | 0: mean 0.2, residuals +-0.2, se = sqrt(2 * (0.04 + 0.04)) / 2 = 0.2.
  const QualityLoss uneven =
      quality_loss(std::vector<PairedScores>{scores_of({1}, {1.4}), scores_of({1}, {1})});
  CHECK(uneven.delta_nll_se == doctest::Approx(0.2));
  const double ppl = std::exp(1.2), ppl_full = std::exp(1.0);
  // z = ppl nll - ppl_full nll_full: ppl 1.4 | ppl 1; half their distance.
  CHECK(uneven.delta_ppl_se == doctest::Approx((ppl * 1.4 - ppl * 1.0) / 2));
  CHECK(uneven.delta_ppl == doctest::Approx(ppl - ppl_full));
}

TEST_CASE(
    "[compare] one text: blocks of 32 predictions are the clusters; the first predictions can be left out") {
  std::vector<double> full(64, 1.0), test(64, 1.0);
  for (size_t i = 32; i < 64; ++i) test[i] = 1.5;
  const std::vector<PairedScores> text{scores_of(full, test)};
  // Block sums 0 | 16, mean 0.25: residuals -8 and 8; sqrt(2 * 128) / 64.
  CHECK(quality_loss(text).delta_nll_se == doctest::Approx(0.25));
  const QualityLoss late = quality_loss(text, 32);
  CHECK(late.delta_nll == doctest::Approx(0.5));
  CHECK(late.tokens == 32);
  CHECK(std::isnan(late.delta_nll_se));
  CHECK_THROWS_WITH_AS(quality_loss(text, 64), doctest::Contains("66 tokens"), DataError);
}
