// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_study.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/loss_fields.hpp"

namespace kvviz {
namespace {

using analysis::kNone;

/// Of a key and its value in f32.
double entry_bytes(const LayerConfig& layer) {
  return static_cast<double>(2 * layer.head_dim) * sizeof(float);
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNone;
}

}  // namespace

OutcomeSum::OutcomeSum(const ModelConfig& config) : config_(&config), full_tokens_(config.layers.size()) {}

void OutcomeSum::add(const SimulationRecord& text, const OutcomeRecord& one) {
  if (scored_.empty()) {
    policy_ = one.policy;
    budget_ = one.budget;
    for (const QueryHead& head : text.heads)
      heads_.push_back({.layer = head.layer, .head = head.head, .recall = 0, .bound = 0, .output_error = 0});
    for (const KeySet& set : text.sets)
      sets_.push_back({.layer = set.layer, .kv_head = set.kv_head, .first_query_head = set.first_query_head});
    for (auto* counts : {&demands_, &hits_}) counts->assign(heads_.size(), 0);
    for (auto* counts : {&sinks_, &sinks_held_, &heavy_, &heavy_held_}) counts->assign(sets_.size(), 0);
  }
  for (size_t h = 0; h < heads_.size(); ++h) {
    heads_[h].recall += one.recall[h];
    heads_[h].bound += one.bound[h];
    heads_[h].output_error += one.error[h];
    demands_[h] += one.demands[h];
    hits_[h] += one.hits[h];
  }
  for (size_t s = 0; s < sets_.size(); ++s) {
    sets_[s].budget += static_cast<double>(one.budgets[s]);
    sets_[s].evictions += static_cast<double>(one.evictions[s]);
    sets_[s].peak += static_cast<double>(one.peak[s]);
    sets_[s].final_entries += static_cast<double>(one.kept[s]);
    sinks_[s] += text.sinks[s];
    heavy_[s] += text.heavy[s];
    sinks_held_[s] += one.sinks_held[s];
    heavy_held_[s] += one.heavy_held[s];
  }
  for (size_t l = 0; l < full_tokens_.size(); ++l) {
    const int64_t window = config_->layers[l].window;
    full_tokens_[l] += window > 0 ? std::min(text.tokens, window) : text.tokens;
  }
  metadata_ += one.metadata;
  peak_metadata_ += one.peak_metadata;
  tokens_ += text.tokens;
  seconds_ += one.scan_seconds;
  nll_full_ += one.nll_full;
  nll_ += one.nll;
  scored_.push_back(one.scored);
}

analysis::PolicyOutcome OutcomeSum::outcome() const {
  const ModelConfig& config = *config_;
  const auto texts = static_cast<double>(scored_.size());
  const policy::PolicyInfo info = policy::find_policy(policy_).info;
  analysis::PolicyOutcome o{.policy = policy_,
                            .summary = std::string(info.summary),
                            .budget = budget_,
                            .clairvoyant = info.clairvoyant,
                            .texts = std::ssize(scored_)};
  const QualityLoss loss = quality_loss(scored_);
  set_loss(o, loss);
  o.delta_nll_all = (nll_ - nll_full_) / (static_cast<double>(tokens_) - texts);

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
  o.processed = tokens_;
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
  const double tokens = static_cast<double>(tokens_) / texts;
  // Sets of query heads share the keys of their KV head where none are freed.
  const double sharing =
      sets / static_cast<double>(config.layers.size()) / static_cast<double>(config.layers.front().kv_heads);
  // Of the full cache of one KV head of this layer.
  const auto full_bytes = [&](size_t layer) {
    return entry_bytes(config.layers[layer]) * static_cast<double>(full_tokens_[layer]) / texts;
  };
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
    const auto layer = static_cast<size_t>(set.layer);
    const double entry = entry_bytes(config.layers[layer]);
    o.logical_bytes += set.final_entries * entry / (info.evicts ? 1 : sharing);
    o.resident_bytes += info.evicts && info.frees_memory ? set.peak * entry : full_bytes(layer) / sharing;
  }
  o.metadata_bytes = static_cast<double>(metadata_) / texts;
  o.resident_bytes += static_cast<double>(peak_metadata_) / texts;
  for (double* const mean : {&o.budget_tokens, &o.peak_entries, &o.final_entries}) *mean /= sets;
  for (size_t l = 0; l < config.layers.size(); ++l)
    o.full_bytes += static_cast<double>(config.layers[l].kv_heads) * full_bytes(l);
  o.budget_fraction = std::min(o.budget_tokens / tokens, 1.0);
  o.scan_seconds = seconds_;
  return o;
}

namespace {

/// The text alone under each simulation, by the same formulas as all texts together.
void add_text(analysis::SimulationStudy& study, const TextRun::Record& measured,
              const SimulationRecord& record, const ModelConfig& config) {
  for (const OutcomeRecord& one : record.outcomes) {
    OutcomeSum alone(config);
    alone.add(record, one);
    const analysis::PolicyOutcome o = alone.outcome();
    study.text_outcomes.push_back({.text = measured.index,
                                   .name = measured.text.name,
                                   .tokens = record.tokens,
                                   .policy = o.policy,
                                   .budget = o.budget,
                                   .predictions = o.predictions,
                                   .nll = o.nll,
                                   .delta_nll = o.delta_nll,
                                   .delta_nll_se = o.delta_nll_se,
                                   .delta_ppl_percent = 100 * std::expm1(o.delta_nll),
                                   .kl = o.kl,
                                   .top1_agreement = o.top1_agreement,
                                   .recall = o.recall,
                                   .evictions = o.evictions,
                                   .resident_bytes = o.resident_bytes});
  }
}

void add_log(SimulateRun& run, const SimulationRecord& record, int64_t text) {
  for (size_t i = 0; i < record.outcomes.size(); ++i) {
    const OutcomeRecord& outcome = record.outcomes[i];
    auto at = outcome.log.values.begin();
    for (size_t s = 0; s < record.sets.size() && at != outcome.log.values.end(); ++s) {
      const KeySet& set = record.sets[s];
      for (int64_t e = 0; e < outcome.evictions[s]; ++e, at += 2)
        run.log.insert(run.log.end(), {static_cast<int32_t>(i), static_cast<int32_t>(text), set.layer,
                                       set.kv_head, set.first_query_head, at[0], at[1]});
    }
  }
}

std::string prefill_of(const SimulateOptions& o) {
  if (o.prefill == "stepwise") return o.prefill;
  return o.prompt_tokens > 0 ? cat("full, ", o.prompt_tokens, " tokens") : "full, half of each text";
}

}  // namespace

SimulateRun gather_simulations(const TextRun& texts, const SimulateOptions& o) {
  const ModelConfig& config = texts.config();
  SimulateRun run;
  std::vector<OutcomeSum> sums;
  std::string budget_table;
  texts.each([&](const TextRun::Record& measured) {
    auto record = measured.body.get<SimulationRecord>();
    if (sums.empty()) {
      sums.assign(record.outcomes.size(), OutcomeSum(config));
      run.study.score_from = record.score_from;
      budget_table = record.budget_table;
    }
    require<UsageError>(record.budget_table == budget_table,
                        "the texts were measured with different tables: ", "--budget-table ",
                        o.budget_table.string(),
                        " has changed in between. Run all of them anew, without --resume");
    for (size_t i = 0; i < sums.size(); ++i) sums[i].add(record, record.outcomes.at(i));
    add_text(run.study, measured, record, config);
    add_log(run, record, measured.index);
    run.study.tokens += record.tokens;
    if (record.first) run.first = std::move(record.first), run.first_name = measured.text.name;
  });
  for (const OutcomeSum& sum : sums) run.study.outcomes.push_back(sum.outcome());
  analysis::mark_frontier(run.study.outcomes);
  if (run.first) {
    run.study.retention = run.first->retention;
    run.study.survival = run.first->survival;
    run.study.first_text = run.first->tokens;
  }
  run.study.layers = static_cast<int>(config.layers.size());
  run.study.query_heads = static_cast<int>(config.layers.front().heads);
  run.study.kv_heads = static_cast<int>(config.layers.front().kv_heads);
  run.study.texts = texts.measured();
  run.study.positions = o.positions;
  run.study.prefill = prefill_of(o);
  run.study.full_nll = run.study.outcomes.front().nll - run.study.outcomes.front().delta_nll;
  run.study.full_ppl = run.study.outcomes.front().ppl - run.study.outcomes.front().delta_ppl;
  run.origin = texts.origin();
  return run;
}

}  // namespace kvviz
