// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_text.hpp"

#include <algorithm>
#include <numeric>

#include "kvviz/stats/sink_keys.hpp"

namespace kvviz {
namespace {

/// Keys of one set that matter most with the full cache.
struct KeptMost {
  std::vector<int64_t> sinks;  ///< stats::sink_keys
  std::vector<int64_t> heavy;  ///< the tenth of the tokens that gets most, sinks left out
};

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

/// The set whose first key gets most: what sinks do is to be seen there.
size_t shown_set(std::span<const KeyUse> keys) {
  return static_cast<size_t>(
      std::ranges::max_element(keys, {}, [](const KeyUse& use) { return use.later_mass.front(); }) -
      keys.begin());
}

/// The budget in the middle of those asked for, for figures of a single one.
std::string middle_budget(std::span<const Simulation> simulations) {
  std::vector<std::string> budgets;
  for (const Simulation& s : simulations)
    if (s.policy.name != "full" && std::ranges::count(budgets, s.budget.text) == 0)
      budgets.push_back(s.budget.text);
  return budgets.empty() ? "" : budgets[budgets.size() / 2];
}

FirstText first_text(const SimulationResult& result, std::span<const Simulation> simulations,
                     const TextInput& text) {
  FirstText first;
  first.tokens = text.tokens.text;
  const size_t shown = shown_set(result.keys);
  const KeptMost most = kept_most(result.keys[shown]);
  const auto tokens = std::ssize(text.tokens.ids);
  const std::string budget = middle_budget(simulations);
  for (size_t i = 0; i < simulations.size(); ++i) {
    if (simulations[i].budget.text != budget) continue;
    const SimulatedText& simulated = result.texts[i];
    const SimulatedSet& set = simulated.sets[shown];
    analysis::RetentionMap map{.policy = simulations[i].policy.name,
                               .budget = budget,
                               .layer = set.layer,
                               .kv_head = static_cast<int>(set.owner.kv_head),
                               .tokens = tokens,
                               .last_step = std::vector<int64_t>(static_cast<size_t>(tokens), tokens - 1),
                               .sinks = most.sinks,
                               .heavy = most.heavy};
    for (const kernels::Eviction& e : set.log) map.last_step[static_cast<size_t>(e.position)] = e.step;
    first.retention.push_back(std::move(map));
    analysis::TokenSurvival survival{.policy = simulations[i].policy.name,
                                     .budget = budget,
                                     .held = std::vector<double>(static_cast<size_t>(tokens), 0)};
    for (const SimulatedSet& one : simulated.sets)
      for (const int32_t key : one.kept)
        survival.held[static_cast<size_t>(key)] += 1 / static_cast<double>(simulated.sets.size());
    first.survival.push_back(std::move(survival));
  }
  for (const KeyUse& use : result.keys) {
    for (const double mass : use.later_mass) first.attention_mass.values.push_back(static_cast<float>(mass));
    first.reads.values.insert(first.reads.values.end(), use.reads.begin(), use.reads.end());
  }
  return first;
}

int64_t count_held(std::span<const int64_t> keys, std::span<const int32_t> kept) {
  return std::ranges::count_if(
      keys, [&](int64_t key) { return std::ranges::binary_search(kept, static_cast<int32_t>(key)); });
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

void add_scores(OutcomeRecord& record, const PairedScores& scores, int64_t from) {
  record.scored = block_scores(scores, from);
  record.nll_full = sum_of(scores.nll_full);
  record.nll = sum_of(scores.nll);
}

OutcomeRecord outcome_of(const Simulation& simulation, const SimulatedText& text,
                         std::span<const KeptMost> most, bool with_log) {
  OutcomeRecord record{.policy = simulation.policy.name, .budget = simulation.budget.text};
  record.scan_seconds = text.scan_seconds;
  for (const SimulatedHead& head : text.heads) {
    record.recall.push_back(head.recall);
    record.bound.push_back(head.bound);
    record.error.push_back(head.error);
    record.demands.push_back(head.demands);
    record.hits.push_back(head.hits);
  }
  for (size_t s = 0; s < text.sets.size(); ++s) {
    const SimulatedSet& set = text.sets[s];
    record.budgets.push_back(set.budget);
    record.evictions.push_back(std::ssize(set.log));
    record.peak.push_back(set.peak);
    record.kept.push_back(std::ssize(set.kept));
    record.sinks_held.push_back(count_held(most[s].sinks, set.kept));
    record.heavy_held.push_back(count_held(most[s].heavy, set.kept));
    record.metadata += set.metadata.key * std::ssize(set.kept) + set.metadata.set;
    record.peak_metadata += set.metadata.key * set.peak + set.metadata.set;
    if (!with_log) continue;
    for (const kernels::Eviction& e : set.log)
      record.log.values.insert(record.log.values.end(), {e.step, e.position});
  }
  return record;
}

}  // namespace

SimulationRecord simulate_text(const Decoder& decoder, const TextInput& text, const SimulatePlan& plan,
                               bool first) {
  const auto& ids = text.tokens.ids;
  const auto tokens = std::ssize(ids);
  SimulationOptions settings = plan.settings;
  settings.prompt = prompt_of(plan.options, tokens);
  settings.score_from = first_scored(plan, tokens);
  const SimulationResult result = simulate(decoder, ids, plan.simulations, settings);
  SimulationRecord record{
      .tokens = tokens, .score_from = settings.score_from, .budget_table = plan.budget_table};
  std::vector<KeptMost> most;
  for (const KeyUse& use : result.keys) {
    most.push_back(kept_most(use));
    record.sinks.push_back(std::ssize(most.back().sinks));
    record.heavy.push_back(std::ssize(most.back().heavy));
    record.sets.push_back({.layer = use.layer,
                           .kv_head = static_cast<int>(use.owner.kv_head),
                           .first_query_head = static_cast<int>(use.owner.first_query_head)});
  }
  std::vector<at::Tensor> hidden;
  for (const SimulatedText& simulated : result.texts) hidden.push_back(simulated.hidden);
  const auto scores = compare_predictions(decoder, result.full, hidden, ids);
  for (size_t i = 0; i < scores.size(); ++i) {
    OutcomeRecord outcome = outcome_of(plan.simulations[i], result.texts[i], most, plan.options.eviction_log);
    if (plan.options.no_timings) outcome.scan_seconds = analysis::kNone;
    add_scores(outcome, scores[i], settings.score_from);
    record.outcomes.push_back(std::move(outcome));
  }
  if (!result.texts.empty())
    for (const SimulatedHead& head : result.texts.front().heads)
      record.heads.push_back({head.layer, head.head});
  if (first) record.first = first_text(result, plan.simulations, text);
  return record;
}

}  // namespace kvviz
