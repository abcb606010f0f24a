// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/compare.hpp"

using namespace kvviz;

namespace {

PairedScores random_scores(std::mt19937_64& random, int64_t predictions) {
  std::normal_distribution<double> noise;
  PairedScores scores;
  for (int64_t i = 0; i < predictions; ++i) {
    const double full = 3 + noise(random), difference = 0.2 + 0.3 * noise(random);
    scores.nll_full.push_back(full);
    scores.nll.push_back(full + difference);
    scores.kl.push_back(difference * difference);
    scores.agrees.push_back(difference < 0.3 ? 1 : 0);
  }
  return scores;
}

struct Prediction {
  double full, test, kl;
  bool agrees;
};
using Clusters = std::vector<std::vector<Prediction>>;

/// Each text a cluster, or each `size` predictions of it.
Clusters clusters_of(const std::vector<PairedScores>& texts, int64_t from, int64_t end, int64_t size) {
  Clusters clusters;
  for (const PairedScores& text : texts) {
    std::vector<Prediction> cluster;
    for (int64_t i = from; i < std::min<int64_t>(end, std::ssize(text.nll)); ++i) {
      const auto at = static_cast<size_t>(i);
      cluster.push_back({text.nll_full[at], text.nll[at], text.kl[at], text.agrees[at] == 1});
      if (std::ssize(cluster) < size) continue;
      clusters.push_back(std::move(cluster));
      cluster.clear();
    }
    if (!cluster.empty()) clusters.push_back(std::move(cluster));
  }
  return clusters;
}

/// sqrt(m/(m-1) sum_c (sum_{i in c} (z_i - mean z))^2) / N, z = a test - b full: prediction by prediction.
double error_of(const Clusters& clusters, double a, double b) {
  double mean = 0, count = 0, squares = 0;
  for (const auto& cluster : clusters)
    for (const Prediction& p : cluster) {
      mean += a * p.test - b * p.full;
      count += 1;
    }
  mean /= count;
  for (const auto& cluster : clusters) {
    double residual = 0;
    for (const Prediction& p : cluster) residual += a * p.test - b * p.full - mean;
    squares += residual * residual;
  }
  const auto m = static_cast<double>(clusters.size());
  if (m < 2) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(squares * m / (m - 1)) / count;
}

/// The error is the larger of those between texts and between blocks.
void check_loss(const QualityLoss& loss, const std::vector<PairedScores>& texts, int64_t from, int64_t end) {
  const Clusters clusters = clusters_of(texts, from, end, std::numeric_limits<int64_t>::max()),
                 blocks = clusters_of(texts, from, end, 32);
  const auto error = [&](double a, double b) {
    return std::fmax(error_of(clusters, a, b), error_of(blocks, a, b));
  };
  double full = 0, test = 0, kl = 0, most = 0, agrees = 0, count = 0;
  for (const auto& cluster : clusters)
    for (const Prediction& p : cluster) {
      full += p.full;
      test += p.test;
      kl += p.kl;
      most = std::max(most, p.kl);
      agrees += p.agrees ? 1 : 0;
      count += 1;
    }
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-11); };
  CHECK(static_cast<double>(loss.tokens) == count);
  CHECK(loss.nll_full == near(full / count));
  CHECK(loss.nll == near(test / count));
  CHECK(loss.delta_nll == near((test - full) / count));
  CHECK(loss.delta_nll_se == near(error(1, 1)));
  CHECK(loss.ppl_full == near(std::exp(full / count)));
  CHECK(loss.ppl == near(std::exp(test / count)));
  CHECK(loss.delta_ppl_se == near(error(std::exp(test / count), std::exp(full / count))));
  CHECK(loss.kl == near(kl / count));
  CHECK(loss.kl_max == most);
  CHECK(loss.top1_agreement == near(agrees / count));
}

std::vector<BlockScores> blocks_of(const std::vector<PairedScores>& texts, int64_t from, int64_t end) {
  std::vector<BlockScores> blocks;
  for (const PairedScores& text : texts) blocks.push_back(block_scores(text, from, end));
  return blocks;
}

constexpr int64_t all = std::numeric_limits<int64_t>::max();

}  // namespace

TEST_CASE("[block_scores] the loss of several texts is that of all their predictions") {
  std::mt19937_64 random(7);
  std::vector<PairedScores> texts;
  for (const int64_t predictions : {70, 33, 5, 64, 128}) texts.push_back(random_scores(random, predictions));
  check_loss(quality_loss(blocks_of(texts, 0, all)), texts, 0, all);
  // One text ends before the first that counts.
  const QualityLoss late = quality_loss(blocks_of(texts, 9, all));
  CHECK(late.texts == 4);
  check_loss(late, texts, 9, all);
  check_loss(quality_loss(blocks_of(texts, 3, 40)), texts, 3, 40);
  check_loss(quality_loss(texts, 3, 40), texts, 3, 40);
}

TEST_CASE("[block_scores] of a single text that counts, blocks of 32 predictions are the clusters") {
  std::mt19937_64 random(8);
  for (const int64_t predictions : {33, 64, 75}) {
    const std::vector<PairedScores> texts{{}, random_scores(random, predictions), {}};
    const QualityLoss loss = quality_loss(blocks_of(texts, 0, all));
    CHECK(loss.texts == 1);
    check_loss(loss, texts, 0, all);
  }
  const std::vector<PairedScores> longer{random_scores(random, 100)};
  check_loss(quality_loss(blocks_of(longer, 11, 90)), longer, 11, 90);
  CHECK(std::isnan(quality_loss(blocks_of(longer, 0, 32)).delta_nll_se));
}

TEST_CASE("[block_scores] two texts that agree by chance are no surer than their blocks") {
  std::mt19937_64 random(3);
  const PairedScores one = random_scores(random, 256);
  const QualityLoss alone = quality_loss(std::vector<PairedScores>{one}),
                    twice = quality_loss(std::vector<PairedScores>{one, one});
  CHECK(alone.delta_nll_se > 0);
  // Between the texts there is no difference at all; of 16 blocks each counts half as much as of 8.
  CHECK(twice.delta_nll_se ==
        doctest::Approx(alone.delta_nll_se * std::sqrt(16.0 / 15 / (8.0 / 7) / 2)).epsilon(1e-9));
}

TEST_CASE("[block_scores] numbers of a block by hand") {
  PairedScores scores;
  for (int i = 0; i < 34; ++i) {
    scores.nll_full.push_back(1);
    scores.nll.push_back(i < 32 ? 1 : 3);
    scores.kl.push_back(i == 33 ? 0.5 : 0.25);
    scores.agrees.push_back(i % 2 == 0 ? 1 : 0);
  }
  const BlockScores blocks = block_scores(scores);
  CHECK(blocks.predictions == 34);
  CHECK(blocks.nll_full == std::vector<double>{32, 2});
  CHECK(blocks.nll == std::vector<double>{32, 6});
  CHECK(blocks.kl == 8.75);
  CHECK(blocks.kl_max == 0.5);
  CHECK(blocks.agrees == 17);
  CHECK(block_scores(scores, 34).predictions == 0);
  CHECK_THROWS_AS(quality_loss(std::vector<BlockScores>{block_scores(scores, 34)}), DataError);
}

TEST_CASE("[block_scores] CBOR keeps every bit") {
  std::mt19937_64 random(9);
  const BlockScores before = block_scores(random_scores(random, 100), 3);
  const nlohmann::json json = before;
  const auto after = nlohmann::json::from_cbor(nlohmann::json::to_cbor(json)).get<BlockScores>();
  CHECK(after.predictions == before.predictions);
  CHECK(after.nll_full == before.nll_full);
  CHECK(after.nll == before.nll);
  CHECK(after.kl == before.kl);
  CHECK(after.kl_max == before.kl_max);
  CHECK(after.agrees == before.agrees);
  CHECK_THROWS_AS(nlohmann::json::object().get<BlockScores>(), nlohmann::json::exception);
}
