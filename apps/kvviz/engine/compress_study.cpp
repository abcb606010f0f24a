// SPDX-License-Identifier: MIT
#include "kvviz/engine/compress_study.hpp"

#include <ATen/ops/ones.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/kivi_errors.hpp"
#include "kvviz/engine/policy_options.hpp"
#include "kvviz/engine/simulate_run.hpp"

namespace kvviz {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AttentionErrors, key_error, value_error, weight_error, output_error,
                                   sparsity)

namespace {

/// What is kept of one text.
struct CompressRecord {
  std::vector<TrialSums> trials;                   ///< [plan]
  std::vector<std::vector<AttentionErrors>> kivi;  ///< kivi_errors(); empty without --kivi-table
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CompressRecord, trials, kivi)

/// Why the options rule a plan out; empty: they do not.
std::string ruled_out(const CachePlan& plan, const CompressOptions& o) {
  for (const CacheSteps& steps : plan.layers) {
    if (o.streaming && steps.eviction)
      return "--streaming codes tokens as they are written; a policy that evicts step by step is run by "
             "kvviz "
             "simulate";
    if (o.streaming && !steps.codec.codec->token_local())
      return cat("--streaming needs a code of each token by itself; ", steps.codec.text,
                 " needs all tokens at once (--windows codes the cache anew after every window)");
    if (o.sides != "both" && steps.eviction)
      return cat("a policy evicts keys and values together; got --sides ", o.sides);
    if (!o.cache.empty() && steps.eviction)
      return "policies are run with the model, which --cache is without: give --model and a text";
  }
  return "";
}

analysis::CompressionStudy described(const CompressOptions& o, bool rope) {
  return {.sides = o.sides == "both" ? "keys and values" : o.sides,
          .key_basis = !rope                       ? "no RoPE"
                       : o.key_basis == "pre_rope" ? "before RoPE"
                                                   : "after RoPE",
          .when = o.streaming ? "as it is written" : "after the prefix"};
}

}  // namespace

std::vector<CachePlan> plans_of(const CompressOptions& o) {
  std::vector<CachePlan> chosen;
  const auto add = [&](const std::string& text, bool by_name) {
    CachePlan plan = parse_plan(text);
    require<UsageError>(std::ranges::count(chosen, plan.text, &CachePlan::text) == 0, "--methods names ",
                        plan.text, " twice");
    const std::string reason = ruled_out(plan, o);
    require<UsageError>(reason.empty() || !by_name, "--methods ", plan.text, ": ", reason);
    if (reason.empty()) chosen.push_back(std::move(plan));
  };
  if (o.methods.empty())
    for (const std::string& plan : swept_plans()) add(plan, false);
  for (const std::string& text : o.methods) {
    if (!o.sweep) add(text, true);
    if (o.sweep)
      for (const std::string& plan : swept_plans_of(text)) add(plan, true);
  }
  const CompressOptions defaults;
  std::vector<policy::Policy> policies;
  for (const CachePlan& plan : chosen)
    for (const CacheSteps& steps : plan.layers)
      if (steps.eviction) policies.push_back(steps.eviction->policy);
  require<UsageError>(!policies.empty() || (o.eviction == defaults.eviction && o.gqa_agg == defaults.gqa_agg),
                      "got an option of policies (--gqa-agg, --sinks, ...), and no policy among the methods");
  check_policy_options(policies, o.call);
  return chosen;
}

KvShapes shapes_of(const ModelConfig& config) {
  KvShapes shapes;
  for (const LayerConfig& layer : config.layers) shapes.push_back({layer.kv_heads, layer.head_dim});
  return shapes;
}

KvShapes shapes_of(const KvCache& cache) {
  KvShapes shapes;
  for (const LayerKv& layer : cache.layers) shapes.push_back({layer.kv_heads(), layer.head_dim()});
  return shapes;
}

void leave_out_unfit(std::vector<CachePlan>& plans, const KvShapes& shapes, const CompressOptions& o) {
  std::vector<LayerKv> few;  // tokens enough to see what a code says of the shapes
  for (const auto& [heads, channels] : shapes)
    few.push_back({.key = at::ones({heads, 2, channels}), .value = at::ones({heads, 2, channels})});
  const bool by_name = !o.methods.empty() && !o.sweep;
  std::erase_if(plans, [&](const CachePlan& plan) {
    require<UsageError>(plan.layers.size() == 1 || plan.layers.size() == few.size(), "[method] '", plan.text,
                        "' is for ", plan.layers.size(), " layers; the model has ", few.size());
    try {
      coded_layers(few, plan, sides_of(o));
    } catch (const UsageError& error) {
      if (by_name) throw;
      if (!o.call.quiet) std::fprintf(stderr, "kvviz: left out %s: %s\n", plan.text.c_str(), error.what());
      return true;
    }
    return false;
  });
  require<UsageError>(!plans.empty(), "no method of the sweep fits this model");
}

TrialOptions trial_options(const CompressOptions& o) {
  return {.prefix = o.prefix_tokens,
          .windows = o.windows,
          .basis = o.key_basis == "pre_rope" ? KeyBasis::pre_rope : KeyBasis::post_rope,
          .streaming = o.streaming,
          .no_timings = o.no_timings,
          .doing = "coding the caches",
          .quiet = o.call.quiet};
}

CodedSides sides_of(const CompressOptions& o) {
  return o.sides == "both" ? CodedSides::both : o.sides == "keys" ? CodedSides::keys : CodedSides::values;
}

std::vector<CacheTrial> trials_of(const Decoder& decoder, std::span<const CachePlan> plans,
                                  const CompressOptions& o) {
  return plan_trials(decoder, plans, sides_of(o), policy_options(o.eviction, o.gqa_agg, o.texts.seed));
}

std::vector<TrialName> names_of(std::span<const CachePlan> plans) {
  std::vector<TrialName> names;
  for (const CachePlan& plan : plans) names.push_back({plan.text, plan.family, plan.summary});
  return names;
}

nlohmann::json measure_compress(const TextRun::Work& work, std::span<const CachePlan> plans,
                                const CompressOptions& o) {
  const Decoder& decoder = work.runner.model.decoder;
  TrialOptions how = trial_options(o);
  how.quiet = work.quiet;
  CompressRecord record{.trials = trial_sums(decoder, work.text, trials_of(decoder, plans, o), how),
                        .kivi = {}};
  if (o.kivi_table > 0) record.kivi = kivi_errors(decoder, work.text.tokens.ids, o.kivi_table);
  return record;
}

/// The sum over the predictions of a text of the share of the keys each sees that were coded: of a window
/// behind p tokens the query at t sees t + 1 keys.
double coded_shares(const batch::PlannedText& text, const CompressOptions& o) {
  double sum = 0;
  for (const TrialWindow& window : windows_of(text.name, text.tokens, trial_options(o)))
    for (int64_t t = window.prefix; t < window.end - 1; ++t)
      sum += static_cast<double>(window.prefix) / static_cast<double>(t + 1);
  return sum;
}

CompressFindings gather_compress(const TextRun& texts, std::span<const CachePlan> plans,
                                 const CompressOptions& o) {
  const ModelConfig& config = texts.config();
  CompressFindings found{.study = described(o, config.position == PositionKind::rope), .kivi = {}};
  analysis::CompressionStudy& study = found.study;
  study.layers = static_cast<int>(config.layers.size());
  study.query_heads = static_cast<int>(config.layers.front().heads);
  study.kv_heads = static_cast<int>(config.layers.front().kv_heads);
  study.texts = texts.measured();
  if (o.kivi_table > 0) found.kivi = kivi_study(o.kivi_table, config.layers.size());
  TrialOutcomes outcomes(names_of(plans));
  double coded = 0;
  texts.each([&](const TextRun::Record& text) {
    const auto record = text.body.get<CompressRecord>();
    outcomes.add(record.trials);
    std::ranges::move(text_outcomes(text, record.trials), std::back_inserter(study.by_text));
    if (found.kivi) add_text(*found.kivi, record.kivi, texts.measured());
    study.tokens += text.text.tokens;
    coded += o.streaming ? 0 : coded_shares(text.text, o);
  });
  study.outcomes = outcomes.outcomes(trial_options(o));
  study.full_nll = study.outcomes.front().nll - study.outcomes.front().delta_nll;
  study.full_ppl = study.outcomes.front().ppl - study.outcomes.front().delta_ppl;
  study.coded_share = o.streaming ? 1 : coded / static_cast<double>(study.outcomes.front().predictions);
  analysis::mark_frontier(study.outcomes);
  return found;
}

analysis::CompressionStudy compress_cache(const KvCache& cache, std::span<const CachePlan> plans,
                                          const CompressOptions& o) {
  std::vector<LayerKv> layers;
  for (const LayerKv& layer : cache.layers) {
    layers.push_back({.key = widened(layer.key), .value = widened(layer.value)});
    for (const at::Tensor& x : {layers.back().key, layers.back().value})
      require(x.isfinite().all().item<bool>(), "layer ", layers.size() - 1,
              " of the cache holds NaN or infinity, which no code can keep");
  }
  analysis::CompressionStudy study = described(o, cache.pairing != RopePairing::none);
  study.layers = static_cast<int>(layers.size());
  study.kv_heads = static_cast<int>(layers.front().kv_heads());
  study.texts = 1;
  study.tokens = layers.front().tokens();
  if (cache.basis == KeyBasis::pre_rope) study.key_basis = "before RoPE";
  study.when = "";
  Progress progress("coding the cache", std::ssize(plans), o.call.quiet);
  for (const CachePlan& plan : plans) {
    const auto start = std::chrono::steady_clock::now();
    const auto changed = coded_layers(layers, plan, sides_of(o));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    study.outcomes.push_back(coding_outcome({plan.text, plan.family, plan.summary}, changed, layers));
    if (!o.no_timings) study.outcomes.back().change_seconds = seconds.count();
    progress.update(std::ssize(study.outcomes));
  }
  return study;
}

}  // namespace kvviz
