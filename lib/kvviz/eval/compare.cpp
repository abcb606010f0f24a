// SPDX-License-Identifier: MIT
#include "kvviz/eval/compare.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/log_sum_exp.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz {
namespace {

constexpr int64_t chunk_rows = 256;
constexpr int64_t block_predictions = 32;

/// Logits of a chunk of rows with their normalisers.
struct Chunk {
  at::Tensor logits;
  std::vector<kernels::RowSummary> summaries;
  int64_t vocabulary = 0;

  Chunk(const Decoder& decoder, const at::Tensor& hidden, int64_t first, int64_t rows)
      : logits(decoder.logits(hidden.narrow(0, first, rows))),
        summaries(kernels::log_sum_exp(logits.data_ptr<float>(), rows, logits.size(1))),
        vocabulary(logits.size(1)) {}

  const float* row(int64_t r) const { return logits.data_ptr<float>() + r * vocabulary; }
  double log_z(int64_t r) const { return summaries[static_cast<size_t>(r)].log_sum_exp; }
  double nll(int64_t r, int32_t id) const { return log_z(r) - static_cast<double>(row(r)[id]); }
  int64_t best(int64_t r) const {
    return std::find(row(r), row(r) + vocabulary, summaries[static_cast<size_t>(r)].maximum) - row(r);
  }
};

double divergence(const Chunk& full, const Chunk& test, int64_t r) {
  const float *p = full.row(r), *q = test.row(r);
  const double log_zp = full.log_z(r), shift = test.log_z(r) - log_zp;
  double sum = 0;
  for (int64_t j = 0; j < full.vocabulary; ++j) {
    const auto logit = static_cast<double>(p[j]);
    sum += std::exp(logit - log_zp) * (logit - static_cast<double>(q[j]) + shift);
  }
  return std::max(sum, 0.0);  // rounding of equal rows
}

void judge(const Chunk& full, const Chunk& test, std::span<const int32_t> right, int64_t first,
           PairedScores& scores) {
  kernels::parallel_for(std::ssize(right), [&](int64_t r) {
    const auto at = static_cast<size_t>(first + r);
    scores.nll_full[at] = full.nll(r, right[static_cast<size_t>(r)]);
    scores.nll[at] = test.nll(r, right[static_cast<size_t>(r)]);
    scores.kl[at] = divergence(full, test, r);
    scores.agrees[at] = full.best(r) == test.best(r) ? 1 : 0;
  });
  for (int64_t i = first; i < first + std::ssize(right); ++i)
    require(std::isfinite(scores.nll_full[i]) && std::isfinite(scores.nll[i]), "the prediction of token ",
            i + 1, " is not finite; the model computes NaN or infinite logits on this text");
}

/// Sums of one cluster.
struct Cluster {
  double count = 0, full = 0, test = 0;
};

std::vector<Cluster> clusters_of(std::span<const PairedScores> texts, int64_t from) {
  std::vector<Cluster> clusters;
  const bool blocks = texts.size() == 1;
  for (const PairedScores& text : texts) {
    for (int64_t i = from; i < std::ssize(text.nll); ++i) {
      if (i == from || (blocks && (i - from) % block_predictions == 0)) clusters.emplace_back();
      clusters.back().count += 1;
      clusters.back().full += text.nll_full[i];
      clusters.back().test += text.nll[i];
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
  const auto size = static_cast<size_t>(std::max<int64_t>(predictions, 0));
  PairedScores empty;
  for (auto* numbers : {&empty.nll_full, &empty.nll, &empty.kl}) numbers->resize(size);
  empty.agrees.resize(size);
  std::vector<PairedScores> all(tests.size(), empty);
  for (int64_t first = 0; first < predictions; first += chunk_rows) {
    const int64_t rows = std::min(chunk_rows, predictions - first);
    const auto right = ids.subspan(static_cast<size_t>(first) + 1, static_cast<size_t>(rows));
    const Chunk reference(decoder, full, first, rows);
    for (size_t t = 0; t < tests.size(); ++t)
      judge(reference, Chunk(decoder, tests[t], first, rows), right, first, all[t]);
  }
  return all;
}

QualityLoss quality_loss(std::span<const PairedScores> texts, int64_t from) {
  const std::vector<Cluster> clusters = clusters_of(texts, from);
  require(!clusters.empty(), "no prediction is left to judge: the texts have fewer than ", from + 2,
          " tokens");
  QualityLoss loss{.texts = std::ssize(texts)};
  double count = 0, agreed = 0;
  for (const Cluster& cluster : clusters) {
    count += cluster.count;
    loss.nll_full += cluster.full;
    loss.nll += cluster.test;
  }
  for (const PairedScores& text : texts) {
    for (int64_t i = from; i < std::ssize(text.nll); ++i) {
      loss.kl += text.kl[i];
      loss.kl_max = std::max(loss.kl_max, text.kl[i]);
      agreed += text.agrees[i];
    }
  }
  loss.tokens = static_cast<int64_t>(count);
  loss.nll_full /= count;
  loss.nll /= count;
  loss.kl /= count;
  loss.top1_agreement = agreed / count;
  loss.ppl_full = std::exp(loss.nll_full);
  loss.ppl = std::exp(loss.nll);
  loss.delta_nll = loss.nll - loss.nll_full;
  loss.delta_ppl = loss.ppl - loss.ppl_full;
  loss.delta_nll_se = clustered_error(clusters, 1, 1);
  loss.delta_ppl_se = clustered_error(clusters, loss.ppl, loss.ppl_full);
  return loss;
}

}  // namespace kvviz
