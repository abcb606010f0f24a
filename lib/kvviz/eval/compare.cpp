// SPDX-License-Identifier: MIT
#include "kvviz/eval/compare.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/divergence.hpp"
#include "kvviz/eval/logit_rows.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz {
namespace {

constexpr int64_t block_predictions = 32;

void judge(const LogitRows& full, const LogitRows& test, std::span<const int32_t> right, int64_t first,
           PairedScores& scores) {
  kernels::parallel_for(std::ssize(right), [&](int64_t r) {
    const auto at = static_cast<size_t>(first + r);
    scores.nll_full[at] = full.nll(r, right[static_cast<size_t>(r)]);
    scores.nll[at] = test.nll(r, right[static_cast<size_t>(r)]);
    scores.kl[at] = divergence({full.row(r), full.log_z(r)}, {test.row(r), test.log_z(r)}, full.vocabulary());
    scores.agrees[at] = full.best(r) == test.best(r) ? 1 : 0;
  });
  for (int64_t i = first; i < first + std::ssize(right); ++i) {
    const auto at = static_cast<size_t>(i);
    require(
        std::isfinite(scores.nll_full[at]) && std::isfinite(scores.nll[at]) && std::isfinite(scores.kl[at]),
        "the prediction of token ", i + 1,
        " is not finite; the model computes NaN or infinite logits on this text");
  }
}

/// Sums of one cluster.
struct Cluster {
  double count = 0, full = 0, test = 0, kl = 0, agreed = 0;
};

int64_t judged_end(const PairedScores& text, int64_t end) {
  return std::min<int64_t>(end, std::ssize(text.nll));
}

int64_t judged_texts(std::span<const PairedScores> texts, int64_t from, int64_t end) {
  return std::ranges::count_if(texts, [&](const PairedScores& text) { return judged_end(text, end) > from; });
}

std::vector<Cluster> clusters_of(std::span<const PairedScores> texts, int64_t from, int64_t end) {
  std::vector<Cluster> clusters;
  const bool blocks = judged_texts(texts, from, end) == 1;
  for (const PairedScores& text : texts) {
    for (int64_t i = from; i < judged_end(text, end); ++i) {
      if (i == from || (blocks && (i - from) % block_predictions == 0)) clusters.emplace_back();
      const auto at = static_cast<size_t>(i);
      Cluster& cluster = clusters.back();
      cluster.count += 1;
      cluster.full += text.nll_full[at];
      cluster.test += text.nll[at];
      cluster.kl += text.kl[at];
      cluster.agreed += text.agrees[at];
    }
  }
  return clusters;
}

/// Standard error of the mean of a x test - b x full.
double clustered_error(const std::vector<Cluster>& clusters, double a, double b) {
  double count = 0, sum = 0, squares = 0;
  for (const Cluster& c : clusters) {
    count += c.count;
    sum += a * c.test - b * c.full;
  }
  const auto m = static_cast<double>(clusters.size());
  if (m < 2) return std::numeric_limits<double>::quiet_NaN();
  for (const Cluster& c : clusters) {
    const double residual = a * c.test - b * c.full - c.count * sum / count;
    squares += residual * residual;
  }
  return std::sqrt(m / (m - 1) * squares) / count;
}

}  // namespace

std::vector<PairedScores> compare_predictions(const Decoder& decoder, const at::Tensor& full,
                                              std::span<const at::Tensor> tests,
                                              std::span<const int32_t> ids) {
  const at::NoGradGuard no_grad;
  const auto predictions = static_cast<int64_t>(ids.size()) - 1;
  for (const at::Tensor& test : tests)
    require<std::logic_error>(test.sizes() == full.sizes(),
                              "hidden states of different shapes: ", test.sizes(), " and ", full.sizes());
  require<std::logic_error>(full.size(0) >= predictions, full.size(0), " hidden states for ", predictions,
                            " predictions");
  const auto size = static_cast<size_t>(std::max<int64_t>(predictions, 0));
  PairedScores empty;
  for (auto* numbers : {&empty.nll_full, &empty.nll, &empty.kl}) numbers->resize(size);
  empty.agrees.resize(size);
  std::vector<PairedScores> all(tests.size(), empty);
  for (int64_t first = 0; first < predictions; first += logit_chunk_rows) {
    const int64_t rows = std::min(logit_chunk_rows, predictions - first);
    const auto right = ids.subspan(static_cast<size_t>(first) + 1, static_cast<size_t>(rows));
    const LogitRows reference(decoder, full, first, rows);
    for (size_t t = 0; t < tests.size(); ++t)
      judge(reference, LogitRows(decoder, tests[t], first, rows), right, first, all[t]);
  }
  return all;
}

QualityLoss quality_loss(std::span<const PairedScores> texts, int64_t from, int64_t end) {
  require<std::logic_error>(from >= 0, "predictions are counted from 0, got ", from);
  const std::vector<Cluster> clusters = clusters_of(texts, from, end);
  require(!clusters.empty(), "no prediction is left to judge: the texts have fewer than ", from + 2,
          " tokens");
  Cluster all;
  double kl_max = 0;
  for (const Cluster& cluster : clusters) {
    all.count += cluster.count;
    all.full += cluster.full;
    all.test += cluster.test;
    all.kl += cluster.kl;
    all.agreed += cluster.agreed;
  }
  for (const PairedScores& text : texts)
    for (int64_t i = from; i < judged_end(text, end); ++i)
      kl_max = std::max(kl_max, text.kl[static_cast<size_t>(i)]);
  QualityLoss loss{.texts = judged_texts(texts, from, end),
                   .tokens = static_cast<int64_t>(all.count),
                   .nll_full = all.full / all.count,
                   .nll = all.test / all.count};
  loss.ppl_full = std::exp(loss.nll_full);
  loss.ppl = std::exp(loss.nll);
  loss.delta_nll = loss.nll - loss.nll_full;
  loss.delta_nll_se = clustered_error(clusters, 1, 1);
  loss.delta_ppl = loss.ppl - loss.ppl_full;
  loss.delta_ppl_se = clustered_error(clusters, loss.ppl, loss.ppl_full);
  loss.kl = all.kl / all.count;
  loss.kl_max = kl_max;
  loss.top1_agreement = all.agreed / all.count;
  return loss;
}

}  // namespace kvviz
