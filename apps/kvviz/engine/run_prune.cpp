// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/prune_study.hpp"
#include "kvviz/figures/prune_figures.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/over_texts.hpp"
#include "kvviz/tables/prune_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

using tables::integer;
using tables::real;

nlohmann::ordered_json effective_options(const PruneOptions& o) {
  nlohmann::ordered_json effective;
  add_options(effective, o.texts);
  effective["token-ids"] = effective["tokens"];
  effective.update(
      {{"tokens", o.tokens},
       {"layers", o.layers},
       {"heads", o.heads},
       {"query-heads", o.query_heads},
       {"channels", o.channels},
       {"sides", o.sides},
       {"threshold", o.threshold ? nlohmann::ordered_json(*o.threshold) : nullptr},
       {"prune-method", o.prune_method},
       {"sweep", o.sweep},
       {"channel-block", o.channel_block},
       {"prefix-tokens", o.continuation.empty() ? nlohmann::ordered_json(o.prefix_tokens) : nullptr},
       {"windows", o.windows},
       {"continuation", o.continuation},
       {"decode-steps", o.decode_steps}});
  return effective;
}

template <class Study>
std::vector<Fact> common_facts(const Study& study, const analysis::CacheOutcome& first) {
  return {{"texts", integer(study.texts), "", "Texts"},
          {"tokens", integer(study.tokens), "tokens", "Tokens of all texts"},
          {"prefix", real(first.tokens), "tokens", "Tokens whose cache is pruned, mean over the texts"},
          {"predictions", integer(first.predictions), "", "Predictions behind them"},
          {"full_ppl", real(study.full_ppl), "", "Their perplexity with the cache as it is"},
          {"full_nll", real(study.full_nll), "nats", "Their negative log-likelihood"},
          {"f16_bytes_per_token", real(first.f16_bytes / first.tokens), "bytes", "Cache of a token in f16"}};
}

std::vector<Fact> facts_of(const analysis::PruningStudy& study) {
  const analysis::PruneVariant& last = study.variants.back();
  std::vector<Fact> facts = common_facts(study, last.outcome);
  facts.push_back({"removed", last.outcome.method, "", "Removed"});
  facts.push_back({"saved_percent",
                   real(100 * (last.outcome.f16_bytes - last.outcome.bytes()) / last.outcome.f16_bytes), "%",
                   "  bytes saved"});
  facts.push_back({"ppl", real(last.outcome.ppl), "", "  perplexity with what is left"});
  facts.push_back({"delta_ppl_percent", real(last.outcome.delta_ppl_percent()), "%", "  increase of it"});
  const auto add_time = [&](const std::string& key, const analysis::DecodeTime& time, const char* label) {
    facts.push_back({key + "_ms", real(time.median, "not measured"), "ms", label});
    facts.push_back({key + "_q1_ms", real(time.lower, "not measured"), "ms", "    first quartile"});
    facts.push_back({key + "_q3_ms", real(time.upper, "not measured"), "ms", "    third quartile"});
  };
  add_time("full_decode", last.full_time, "  a decoded token with the full cache, median");
  add_time("decode", last.time, "  with the smaller one, median");
  const double change = 100 * (last.time.median / last.full_time.median - 1);
  facts.push_back({"decode_percent",
                   overlap(last.full_time, last.time) ? Cell(Null{"within the quartiles of both"})
                                                      : real(change, "not measured"),
                   "%", "  change of that"});
  return facts;
}

std::vector<Fact> facts_of(const analysis::SweepStudy& study) {
  const auto order = by_loss(study);
  std::vector<Fact> facts = common_facts(study, order.front()->outcome);
  const auto add = [&](const std::string& key, const analysis::SweepItem& item, const std::string& label) {
    facts.push_back({key, item.outcome.method, "", label});
    facts.push_back({key + "_delta_ppl_percent", real(item.outcome.delta_ppl_percent()), "%",
                     "  increase of the perplexity without it"});
  };
  add("cheapest", *order.front(), "Costs least to remove");
  add("dearest", *order.back(), "Costs most to remove");
  const analysis::SweepCorrelation* best = best_correlation(study);
  const char* none = "fewer than 3 were removed, or all are alike";
  const double p = best_p_value(study);
  const bool known = p < analysis::rank_significance;
  if (best != nullptr && !known) none = "none with p < 0.05";
  facts.push_back(
      {"best_metric", known ? Cell(best->metric) : Cell(Null{none}), "", "Metric that orders them best"});
  facts.push_back({"best_metric_rho", known ? Cell(best->loss.rho) : Cell(Null{none}), "",
                   "  its rank correlation with the loss"});
  facts.push_back(
      {"best_metric_p", real(p, none), "", "  p of the strongest correlation, of all metrics tried"});
  return facts;
}

/// Everything about the result that depends on the kind of run.
void fill(Result& result, Delivery& delivery, const analysis::PruningStudy& study, bool plots) {
  result.summary = facts_of(study);
  result.tables = {tables::prune_table(study), tables::prune_layers_table(study),
                   tables::prune_heads_table(study), tables::prune_texts_table(study)};
  if (plots) delivery.figures = figures::prune_figures(study, delivery.subtitle);
  delivery.shown_tables = {"prune"};
}

void fill(Result& result, Delivery& delivery, const analysis::SweepStudy& study, bool plots) {
  result.summary = facts_of(study);
  result.tables = {tables::prune_sweep_table(study), tables::prune_metrics_table(study)};
  if (plots) delivery.figures = figures::sweep_figures(study, delivery.subtitle);
  delivery.shown_tables = {"prune_sweep", "prune_metrics"};
}

int64_t longest_prefix(const TextRun& texts, const PruneOptions& o) {
  int64_t longest = 0;
  for (const batch::PlannedText& text : texts.plan().texts)
    if (text.failure.empty()) longest = std::max(longest, prefix_of(text, o));
  return longest;
}

std::unique_ptr<TextRun> open_prune_texts(const PruneOptions& o) {
  return open_trial_texts(
      {.command = "prune",
       .call = o.call,
       .model = o.model,
       .texts = o.texts,
       .out = o.output.out,
       .check = [&](const batch::PlannedText& text) { check_tokens(o, prefix_of(text, o)); }});
}

int run(const PruneOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  set_threads(o.call.threads);
  const auto texts = open_prune_texts(o);
  std::vector<NamedRemoval> removals;
  std::vector<SweepTarget> targets;
  const bool sweep = !o.sweep.empty(), timings = !o.no_timings && !sweep;
  if (sweep)
    targets = sweep_targets(o, texts->config());
  else
    removals = removals_of(o, texts->config(), longest_prefix(*texts, o));
  texts->measure({.doing = "pruning the caches",
                  .more_tokens = std::ssize(o.continuation),  // at most about as many as bytes
                  .alone = timings},
                 [&](const TextRun::Work& work) {
                   return sweep ? measure_sweep(work, targets, o)
                                : measure_prune(work, removals, o, timings && work.index == texts->first());
                 });
  if (texts->only_a_shard()) return 0;

  const SubjectOrigin origin = texts->origin();
  const std::string text = cat(origin.text, o.continuation.empty() ? "" : " with a continuation");
  Result result{.command = "prune", .provenance = texts->provenance(o.call, effective_options(o))};
  delivery.heading = cat(origin.model, ", ", text);
  delivery.subtitle = cat(short_name(origin.model), ", ", text);
  delivery.shown_rows = 40;
  if (sweep)
    fill(result, delivery, gather_sweep(*texts, targets, o), !o.output.no_plots);
  else
    fill(result, delivery, gather_prune(*texts, removals, o), !o.output.no_plots);
  tables::add_over_texts(result, "prune_texts", tables::judged_facts);
  texts->add_failures(result, delivery);
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_prune(const kvviz::PruneOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
