// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <random>

#include "kvviz/analysis/sink_study.hpp"

namespace kvviz::analysis {
namespace {

constexpr int draws = 2000;

/// Counts of pairs (flag a, flag b).
struct Pairs {
  double both = 0, only_a = 0, only_b = 0, neither = 0;

  void add(bool a, bool b) { (a ? (b ? both : only_a) : (b ? only_b : neither)) += 1; }
  double total() const { return both + only_a + only_b + neither; }
  double given_a() const { return both + only_a > 0 ? both / (both + only_a) : kNone; }
  double given_not_a() const { return only_b + neither > 0 ? only_b / (only_b + neither) : kNone; }
  double base() const { return (both + only_b) / total(); }
  double phi() const {
    const double product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither);
    return product > 0 ? (both * neither - only_a * only_b) / std::sqrt(product) : kNone;
  }
};

/// Shares of later layers that are sinks, one for each first-layer sink.
struct Interval {
  double low = kNone, high = kNone;
};

Interval bootstrap(const std::vector<double>& shares) {
  if (shares.size() < 2) return {};
  std::mt19937_64 random(1);
  std::vector<double> means;
  for (int d = 0; d < draws; ++d) {
    double sum = 0;
    for (size_t i = 0; i < shares.size(); ++i) sum += shares[random() % shares.size()];
    means.push_back(sum / static_cast<double>(shares.size()));
  }
  std::ranges::sort(means);
  return {means[draws * 25 / 1000], means[draws * 975 / 1000 - 1]};
}

/// Heads of a layer, if all layers have as many; else 0.
int64_t heads_per_layer(const SinkStudy& study) {
  const int64_t layers = study.layers();
  const auto heads = static_cast<int64_t>(study.heads.size());
  if (layers == 0 || heads % layers != 0) return 0;
  for (int64_t i = 0; i < heads; ++i)
    if (study.heads[i].layer != i / (heads / layers)) return 0;
  return heads / layers;
}

}  // namespace

AcrossLayers across_layers(const SinkStudy& study, const SinkRule& rule, int64_t prompt) {
  AcrossLayers across;
  const int64_t layers = study.layers(), heads = heads_per_layer(study);
  if (layers < 2 || heads == 0) {
    across.reason = layers < 2 ? "the model has one layer" : "layers differ in their numbers of heads";
    return across;
  }
  const int64_t first = prompt < 0 ? 0 : prompt, end = prompt < 0 ? std::ssize(study.prompts) : prompt + 1;
  Pairs first_and_later;
  std::vector<Pairs> adjacent(static_cast<size_t>(layers - 1));
  std::vector<double> shares;
  for (int64_t p = first; p < end; ++p) {
    const auto& scores = study.prompts[p].score[static_cast<size_t>(rule.metric)];
    const auto flag = [&](int64_t layer, int64_t head) { return rule.holds(scores[layer * heads + head]); };
    for (int64_t h = 0; h < heads; ++h) {
      double later = 0;
      for (int64_t l = 1; l < layers; ++l) {
        first_and_later.add(flag(0, h), flag(l, h));
        adjacent[l - 1].add(flag(l - 1, h), flag(l, h));
        later += flag(l, h) ? 1 : 0;
      }
      if (!flag(0, h)) continue;
      ++across.first_sinks;
      shares.push_back(later / static_cast<double>(layers - 1));
    }
  }
  across.base = first_and_later.base();
  across.p_later = first_and_later.given_a();
  across.p_later_not = first_and_later.given_not_a();
  if (across.base > 0) across.lift = across.p_later / across.base;
  across.phi = first_and_later.phi();
  double sum = 0, count = 0;
  for (const Pairs& pairs : adjacent) {
    if (std::isnan(pairs.phi())) continue;
    sum += pairs.phi();
    ++count;
  }
  if (count > 0) across.phi_adjacent = sum / count;
  const Interval interval = bootstrap(shares);
  across.low = interval.low;
  across.high = interval.high;
  if (across.first_sinks == 0) across.reason = "no head of the first layer is a sink";
  return across;
}

}  // namespace kvviz::analysis
