// SPDX-License-Identifier: MIT
#include "kvviz/eval/compare.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
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
  double count = 0, full = 0, test = 0;
};

int64_t judged_texts(std::span<const BlockScores> texts) {
  return std::ranges::count_if(texts, [](const BlockScores& text) { return text.predictions > 0; });
}

enum class ClusterOf { text, block };

std::vector<Cluster> clusters_of(std::span<const BlockScores> texts, ClusterOf unit) {
  std::vector<Cluster> clusters;
  for (const BlockScores& text : texts) {
    for (size_t b = 0; b < text.nll.size(); ++b) {
      if (b == 0 || unit == ClusterOf::block) clusters.emplace_back();
      const auto first = static_cast<int64_t>(b) * block_predictions;
      Cluster& cluster = clusters.back();
      cluster.count += static_cast<double>(std::min(block_predictions, text.predictions - first));
      cluster.full += text.nll_full[b];
      cluster.test += text.nll[b];
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

BlockScores block_scores(const PairedScores& scores, int64_t from, int64_t end) {
  require<std::logic_error>(from >= 0, "predictions are counted from 0, got ", from);
  BlockScores sums;
  for (int64_t i = from; i < std::min<int64_t>(end, std::ssize(scores.nll)); ++i) {
    if ((i - from) % block_predictions == 0)
      for (auto* blocks : {&sums.nll_full, &sums.nll}) blocks->push_back(0);
    const auto at = static_cast<size_t>(i);
    sums.nll_full.back() += scores.nll_full[at];
    sums.nll.back() += scores.nll[at];
    sums.kl += scores.kl[at];
    sums.kl_max = std::max(sums.kl_max, scores.kl[at]);
    sums.agrees += scores.agrees[at];
    ++sums.predictions;
  }
  return sums;
}

void to_json(nlohmann::json& json, const BlockScores& scores) {
  json = {{"predictions", scores.predictions},
          {"nll_full", scores.nll_full},
          {"nll", scores.nll},
          {"kl", scores.kl},
          {"kl_max", scores.kl_max},
          {"agrees", scores.agrees}};
}

void from_json(const nlohmann::json& json, BlockScores& scores) {
  json.at("predictions").get_to(scores.predictions);
  json.at("nll_full").get_to(scores.nll_full);
  json.at("nll").get_to(scores.nll);
  json.at("kl").get_to(scores.kl);
  json.at("kl_max").get_to(scores.kl_max);
  json.at("agrees").get_to(scores.agrees);
}

QualityLoss quality_loss(std::span<const BlockScores> texts) {
  const std::vector<Cluster> by_text = clusters_of(texts, ClusterOf::text),
                             by_block = clusters_of(texts, ClusterOf::block);
  require(!by_text.empty(), "no prediction is left to judge: the texts are too short");
  Cluster all;
  for (const Cluster& cluster : by_text) {
    all.count += cluster.count;
    all.full += cluster.full;
    all.test += cluster.test;
  }
  QualityLoss loss{.texts = judged_texts(texts),
                   .tokens = static_cast<int64_t>(all.count),
                   .nll_full = all.full / all.count,
                   .nll = all.test / all.count};
  loss.ppl_full = std::exp(loss.nll_full);
  loss.ppl = std::exp(loss.nll);
  loss.delta_nll = loss.nll - loss.nll_full;
  // fmax: a single text has no error between texts.
  const auto error = [&](double a, double b) {
    return std::fmax(clustered_error(by_text, a, b), clustered_error(by_block, a, b));
  };
  loss.delta_nll_se = error(1, 1);
  loss.delta_ppl = loss.ppl - loss.ppl_full;
  loss.delta_ppl_se = error(loss.ppl, loss.ppl_full);
  int64_t agrees = 0;
  for (const BlockScores& text : texts) {
    loss.kl += text.kl;
    loss.kl_max = std::max(loss.kl_max, text.kl_max);
    agrees += text.agrees;
  }
  loss.kl /= all.count;
  loss.top1_agreement = static_cast<double>(agrees) / all.count;
  return loss;
}

QualityLoss quality_loss(std::span<const PairedScores> texts, int64_t from, int64_t end) {
  std::vector<BlockScores> blocks;
  for (const PairedScores& text : texts) blocks.push_back(block_scores(text, from, end));
  require(judged_texts(blocks) > 0, "no prediction is left to judge: the texts have fewer than ", from + 2,
          " tokens");
  return quality_loss(blocks);
}

}  // namespace kvviz
