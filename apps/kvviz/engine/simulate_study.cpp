// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_study.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/stats/sink_keys.hpp"

namespace kvviz {
namespace {

using analysis::kNone;

int64_t count_held(std::span<const int64_t> keys, std::span<const int32_t> kept) {
  return std::ranges::count_if(
      keys, [&](int64_t key) { return std::ranges::binary_search(kept, static_cast<int32_t>(key)); });
}

/// Of a key and its value in f32.
double entry_bytes(const LayerConfig& layer) {
  return static_cast<double>(2 * layer.head_dim) * sizeof(float);
}

/// Of the full cache of one KV head of this layer.
double full_bytes(const LayerConfig& layer, double tokens) {
  return entry_bytes(layer) *
         (layer.window > 0 ? std::min(tokens, static_cast<double>(layer.window)) : tokens);
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNone;
}

}  // namespace

PairedScores behind(const PairedScores& scores, int64_t first) {
  const auto cut = [&](const auto& values) {
    return std::decay_t<decltype(values)>(values.begin() + std::min(first, std::ssize(values)), values.end());
  };
  return {.nll_full = cut(scores.nll_full),
          .nll = cut(scores.nll),
          .kl = cut(scores.kl),
          .agrees = cut(scores.agrees)};
}

KeptMost kept_most(const KeyUse& use) {
  KeptMost keys{.sinks = stats::sink_keys(use.later_mass, use.window, {})};
  std::vector<int64_t> order(use.mass.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto tenth = static_cast<std::ptrdiff_t>((order.size() + 9) / 10);
  std::ranges::partial_sort(order, order.begin() + tenth, [&](int64_t a, int64_t b) {
    const double x = use.mass[static_cast<size_t>(a)], y = use.mass[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (const int64_t key : std::span(order).first(static_cast<size_t>(tenth)))
    if (!std::ranges::binary_search(keys.sinks, key)) keys.heavy.push_back(key);
  std::ranges::sort(keys.heavy);
  return keys;
}

void OutcomeSum::add(const SimulatedText& text, std::span<const KeyUse> keys, PairedScores scores,
                     int64_t first) {
  if (sets_.empty()) {
    for (const SimulatedHead& head : text.heads)
      heads_.push_back({.layer = head.layer, .head = head.head, .recall = 0, .bound = 0, .output_error = 0});
    for (const SimulatedSet& set : text.sets)
      sets_.push_back({.layer = set.layer,
                       .kv_head = static_cast<int>(set.owner.kv_head),
                       .first_query_head = static_cast<int>(set.owner.first_query_head)});
    for (auto* counts : {&demands_, &hits_}) counts->assign(heads_.size(), 0);
    for (auto* counts : {&sinks_, &sinks_held_, &heavy_, &heavy_held_}) counts->assign(sets_.size(), 0);
  }
  for (size_t h = 0; h < text.heads.size(); ++h) {
    heads_[h].recall += text.heads[h].recall;
    heads_[h].bound += text.heads[h].bound;
    heads_[h].output_error += text.heads[h].error;
    demands_[h] += text.heads[h].demands;
    hits_[h] += text.heads[h].hits;
  }
  for (size_t s = 0; s < text.sets.size(); ++s) {
    const SimulatedSet& set = text.sets[s];
    sets_[s].budget += static_cast<double>(set.budget);
    sets_[s].evictions += static_cast<double>(set.log.size());
    sets_[s].peak += static_cast<double>(set.peak);
    sets_[s].final_entries += static_cast<double>(set.kept.size());
    const auto of_key = static_cast<double>(set.metadata.key), of_set = static_cast<double>(set.metadata.set);
    metadata_ += of_key * static_cast<double>(set.kept.size()) + of_set;
    peak_metadata_ += of_key * static_cast<double>(set.peak) + of_set;
    const KeptMost most = kept_most(keys[s]);
    sinks_[s] += std::ssize(most.sinks);
    heavy_[s] += std::ssize(most.heavy);
    sinks_held_[s] += count_held(most.sinks, set.kept);
    heavy_held_[s] += count_held(most.heavy, set.kept);
  }
  tokens_ += static_cast<double>(scores.nll.size() + 1);
  seconds_ += text.scan_seconds;
  scored_.push_back(behind(scores, first));
  all_.push_back(std::move(scores));
}

analysis::PolicyOutcome OutcomeSum::outcome(const Simulation& simulation, const ModelConfig& config) const {
  const auto texts = static_cast<double>(all_.size());
  const policy::PolicyInfo& info = simulation.policy.info;
  analysis::PolicyOutcome o{.policy = simulation.policy.name,
                            .summary = std::string(info.summary),
                            .budget = simulation.budget.text,
                            .clairvoyant = info.clairvoyant,
                            .texts = std::ssize(all_)};
  const QualityLoss loss = quality_loss(scored_), whole = quality_loss(all_);
  o.predictions = loss.tokens;
  o.nll = loss.nll;
  o.delta_nll = loss.delta_nll;
  o.delta_nll_se = loss.delta_nll_se;
  o.ppl = loss.ppl;
  o.delta_ppl = loss.delta_ppl;
  o.delta_ppl_se = loss.delta_ppl_se;
  o.delta_nll_all = whole.delta_nll;
  o.kl = loss.kl;
  o.kl_max = loss.kl_max;
  o.top1_agreement = loss.top1_agreement;

  o.heads = heads_;
  int64_t demands = 0, hits = 0;
  if (!heads_.empty()) o.recall = o.bound = o.output_error = 0;
  for (size_t h = 0; h < heads_.size(); ++h) {
    analysis::HeadOutcome& head = o.heads[h];
    head.recall /= texts;
    head.bound /= texts;
    head.output_error /= texts;
    head.demand_hit_rate = ratio(static_cast<double>(hits_[h]), static_cast<double>(demands_[h]));
    demands += demands_[h];
    hits += hits_[h];
    o.recall += head.recall;
    o.bound += head.bound;
    o.output_error += head.output_error;
  }
  for (double* const mean : {&o.recall, &o.bound, &o.output_error})
    *mean /= static_cast<double>(heads_.size());
  o.processed = std::llround(tokens_);
  o.demands = demands;
  o.hits = hits;
  o.retained_sinks = std::accumulate(sinks_held_.begin(), sinks_held_.end(), int64_t{0});
  o.retained_heavy = std::accumulate(heavy_held_.begin(), heavy_held_.end(), int64_t{0});
  o.demand_hit_rate = ratio(static_cast<double>(hits), static_cast<double>(demands));

  o.sets = sets_;
  const auto total = [](const std::vector<int64_t>& counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  };
  o.sink_recall = ratio(total(sinks_held_), total(sinks_));
  o.heavy_recall = ratio(total(heavy_held_), total(heavy_));
  const auto sets = static_cast<double>(sets_.size());
  const double tokens = tokens_ / texts;
  // Sets of query heads share the keys of their KV head where none are freed.
  const double sharing =
      sets / static_cast<double>(config.layers.size()) / static_cast<double>(config.layers.front().kv_heads);
  o.peak_entries = o.final_entries = o.budget_tokens = 0;
  for (size_t s = 0; s < sets_.size(); ++s) {
    analysis::SetOutcome& set = o.sets[s];
    set.budget /= texts;
    set.evictions /= texts;
    set.peak /= texts;
    set.final_entries /= texts;
    set.sink_recall = ratio(static_cast<double>(sinks_held_[s]), static_cast<double>(sinks_[s]));
    set.heavy_recall = ratio(static_cast<double>(heavy_held_[s]), static_cast<double>(heavy_[s]));
    o.evictions += set.evictions;
    o.budget_tokens += set.budget;
    o.peak_entries += set.peak;
    o.final_entries += set.final_entries;
    const LayerConfig& layer = config.layers[static_cast<size_t>(set.layer)];
    o.logical_bytes += set.final_entries * entry_bytes(layer) / (info.evicts ? 1 : sharing);
    o.resident_bytes += info.evicts && info.frees_memory ? set.peak * entry_bytes(layer)
                                                         : full_bytes(layer, tokens) / sharing;
  }
  o.metadata_bytes = metadata_ / texts;
  o.resident_bytes += peak_metadata_ / texts;
  for (double* const mean : {&o.budget_tokens, &o.peak_entries, &o.final_entries}) *mean /= sets;
  for (const LayerConfig& layer : config.layers)
    o.full_bytes += static_cast<double>(layer.kv_heads) * full_bytes(layer, tokens);
  o.budget_fraction = std::min(o.budget_tokens / tokens, 1.0);
  o.scan_seconds = seconds_;
  return o;
}

}  // namespace kvviz
