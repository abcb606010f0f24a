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

/// One head index that is a sink in the first layer of some text, over all texts.
struct FirstSink {
  double pairs = 0, later = 0;  // later layers of those texts, and those of them where it is a sink
};

struct Interval {
  double low = kNone, high = kNone;
};

Interval bootstrap(const std::vector<FirstSink>& heads) {
  if (heads.size() < 2) return {};
  std::mt19937_64 random(1);
  std::vector<double> shares;
  for (int d = 0; d < draws; ++d) {
    FirstSink sum;
    for (size_t i = 0; i < heads.size(); ++i) {
      const FirstSink& head = heads[random() % heads.size()];
      sum.pairs += head.pairs;
      sum.later += head.later;
    }
    shares.push_back(sum.later / sum.pairs);
  }
  std::ranges::sort(shares);
  return {shares[draws * 25 / 1000], shares[draws * 975 / 1000 - 1]};
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
  std::vector<FirstSink> by_head(static_cast<size_t>(heads));
  for (int64_t p = first; p < end; ++p) {
    const auto& scores = study.prompts[p].score[static_cast<size_t>(rule.metric)];
    const auto known = [&](int64_t layer, int64_t head) { return !std::isnan(scores[layer * heads + head]); };
    const auto flag = [&](int64_t layer, int64_t head) { return rule.holds(scores[layer * heads + head]); };
    for (int64_t h = 0; h < heads; ++h) {
      across.first_sinks += flag(0, h) ? 1 : 0;
      for (int64_t l = 1; l < layers; ++l) {
        if (!known(l, h)) continue;
        if (known(l - 1, h)) adjacent[l - 1].add(flag(l - 1, h), flag(l, h));
        if (!known(0, h)) continue;
        first_and_later.add(flag(0, h), flag(l, h));
        if (!flag(0, h)) continue;
        by_head[h].pairs += 1;
        by_head[h].later += flag(l, h) ? 1 : 0;
      }
    }
  }
  if (first_and_later.total() == 0) {
    across.reason = "no text has this score in the first layer and in a later one";
    return across;
  }
  std::erase_if(by_head, [](const FirstSink& head) { return head.pairs == 0; });
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
  const Interval interval = bootstrap(by_head);
  across.low = interval.low;
  across.high = interval.high;
  if (across.first_sinks == 0) across.reason = "no head of the first layer is a sink";
  return across;
}

}  // namespace kvviz::analysis
