// SPDX-License-Identifier: MIT
#include "kvviz/engine/sink_reuse_run.hpp"

#include <algorithm>
#include <functional>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/stats/channels.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz {
namespace {

constexpr SinkSubstitute substitutes[] = {SinkSubstitute::first_layer, SinkSubstitute::first_key,
                                          SinkSubstitute::zero};

void add(AttentionCost& sum, const AttentionCost& cost) {
  sum.flops += cost.flops;
  sum.model_flops += cost.model_flops;
  sum.cache_bytes += cost.cache_bytes;
  sum.pattern_bytes = std::max(sum.pattern_bytes, cost.pattern_bytes);  // one text at a time
}

/// Which texts choose the heads and which judge them: every second one; a single text does both.
struct Split {
  analysis::SinkStudy profile;
  std::vector<size_t> judged;
};

Split split(const analysis::SinkStudy& study) {
  Split parts{.profile = {.heads = study.heads, .lengths = study.lengths}};
  const size_t texts = study.prompts.size();
  for (size_t i = 0; i < texts; ++i) {
    if (texts == 1 || i % 2 == 0) parts.profile.prompts.push_back(study.prompts[i]);
    if (texts == 1 || i % 2 == 1) parts.judged.push_back(i);
  }
  return parts;
}

HeadFlags chosen_heads(const analysis::SinkStudy& profile, const ModelConfig& config, const SinksOptions& o,
                       const analysis::SinkRule& rule) {
  HeadFlags flags;
  for (const LayerConfig& layer : config.layers) flags.emplace_back(static_cast<size_t>(layer.heads), false);
  const auto summary = analysis::summarise(profile, rule, o.sinks);
  const auto is_sink = [&](const analysis::StudyHead& head) {
    return rule.holds(head.score[static_cast<size_t>(rule.metric)].mean);
  };
  for (const analysis::StudyHead& head : summary.heads)
    if (is_sink(head))
      flags[static_cast<size_t>(head.name.layer)][static_cast<size_t>(head.name.head)] = true;
  if (o.reuse.heads == "first-layer")
    for (size_t l = 1; l < flags.size(); ++l)
      for (size_t h = 0; h < flags[l].size(); ++h) flags[l][h] = h < flags[0].size() && flags[0][h];
  if (o.reuse.layers.empty()) return flags;
  const auto layers = static_cast<int>(flags.size());
  const int first = o.reuse.layers[0], last = o.reuse.layers[1];
  for (int l = 0; l < layers; ++l)
    if (l < first || l > last) std::fill(flags[l].begin(), flags[l].end(), false);
  return flags;
}

/// Every pass over one text `repeats` times, in turn, so that what slows the machine down slows them all:
/// hidden states of the first time, median times of all.
std::vector<ReuseRun> in_turn(int repeats, std::span<const std::function<ReuseRun()>> passes) {
  std::vector<ReuseRun> results(passes.size());
  std::vector<std::vector<double>> attention(passes.size()), whole(passes.size());
  for (int i = 0; i < repeats; ++i)
    for (size_t p = 0; p < passes.size(); ++p) {
      const ReuseRun run = passes[p]();
      attention[p].push_back(run.attention_seconds);
      whole[p].push_back(run.seconds);
      if (i == 0) results[p].hidden = run.hidden;
    }
  for (size_t p = 0; p < passes.size(); ++p) {
    results[p].attention_seconds = stats::median(attention[p]);
    results[p].seconds = stats::median(whole[p]);
  }
  return results;
}

using Field = tables::Field<ReuseVariant>;

Field variant_name() {
  return {{"variant", "", ColumnType::text},
          [](const ReuseVariant& v) { return Cell(std::string(name_of(v.substitute))); }};
}

template <class Get>
Field number(const char* name, const char* unit, Get get) {
  return {{name, unit}, [get](const ReuseVariant& v) { return tables::real(get(v)); }};
}

}  // namespace

void check_reuse(const ReuseOptions& o, size_t layers) {
  if (o.layers.empty()) return;
  const int first = o.layers[0], last = o.layers[1];
  require<UsageError>(first <= last && last < static_cast<int>(layers), "--reuse-layers ", first, ',', last,
                      ": expected a first and a last layer of 0 to ", layers - 1);
}

ReuseEvaluation evaluate_reuse(const Runner& runner, std::span<const TextInput> texts,
                               const analysis::SinkStudy& study, const SinksOptions& o) {
  const Decoder& decoder = runner.model.decoder;
  const auto metric = analysis::parse_sink_metric(o.metric);
  const analysis::SinkRule rule{metric, o.threshold.value_or(analysis::info_of(metric).threshold)};
  const Split parts = split(study);
  const HeadFlags flags = chosen_heads(parts.profile, decoder.config(), o, rule);
  ReuseEvaluation evaluation{.same_texts = texts.size() == 1};
  for (const auto& layer : flags) {
    evaluation.heads += std::ssize(layer);
    evaluation.replaced += std::ranges::count(layer, true);
  }
  for (const SinkSubstitute substitute : substitutes)
    evaluation.variants.push_back({.substitute = substitute});
  std::vector<std::vector<PairedScores>> scores(std::size(substitutes));
  Progress progress("reusing sink attention", std::ssize(parts.judged), o.call.quiet);
  for (size_t done = 0; done < parts.judged.size(); ++done) {
    const auto& ids = texts[parts.judged[done]].tokens.ids;
    const auto tokens = std::ssize(ids);
    if (tokens > o.reuse.up_to) {
      ++evaluation.left_out;
      continue;
    }
    ++evaluation.texts;
    run_full(decoder, ids);  // the first run of all pays for cold caches
    std::vector<std::function<ReuseRun()>> passes{[&] { return run_full(decoder, ids); }};
    for (const SinkSubstitute substitute : substitutes)
      passes.emplace_back([&, substitute] { return run_replaced(decoder, ids, substitute, flags); });
    const std::vector<ReuseRun> runs = in_turn(o.reuse.repeats, passes);
    const ReuseRun& full = runs.front();
    std::vector<at::Tensor> hidden;
    for (size_t v = 0; v < evaluation.variants.size(); ++v) {
      ReuseVariant& variant = evaluation.variants[v];
      const ReuseRun& run = runs[v + 1];
      hidden.push_back(run.hidden);
      variant.attention_seconds += run.attention_seconds;
      variant.seconds += run.seconds;
      variant.attention_seconds_full += full.attention_seconds;
      variant.seconds_full += full.seconds;
      add(variant.cost, attention_cost(decoder.config(), tokens, variant.substitute, flags));
      add(variant.full_cost, attention_cost(decoder.config(), tokens));
    }
    auto compared = compare_predictions(decoder, full.hidden, hidden, ids);
    for (size_t v = 0; v < compared.size(); ++v) scores[v].push_back(std::move(compared[v]));
    progress.update(static_cast<int64_t>(done) + 1);
  }
  require(evaluation.texts > 0, "--evaluate-reuse: every text is longer than --reuse-up-to ", o.reuse.up_to);
  for (size_t v = 0; v < scores.size(); ++v) evaluation.variants[v].loss = quality_loss(scores[v]);
  return evaluation;
}

std::vector<Fact> reuse_facts(const ReuseEvaluation& e) {
  std::vector<Fact> facts = {{"reuse_heads", e.replaced, "", "Reuse: query heads replaced"},
                             {"reuse_texts", e.texts, "",
                              e.same_texts ? "Reuse: texts (the text that chose the heads)"
                                           : "Reuse: texts, other than those that chose the heads"}};
  if (e.left_out > 0)
    facts.push_back({"reuse_left_out", e.left_out, "", "Reuse: texts left out as too long"});
  return facts;
}

// The columns that answer stand first: a console shows as many as it has room for.
Table reuse_table(const ReuseEvaluation& e) {
  const char* one = "fewer than two blocks of text";
  const std::vector<Field> fields = {
      variant_name(),
      number("ppl_full", "", [](const ReuseVariant& v) { return v.loss.ppl_full; }),
      number("delta_ppl", "", [](const ReuseVariant& v) { return v.loss.delta_ppl; }),
      {{"delta_ppl_se"}, [=](const ReuseVariant& v) { return tables::real(v.loss.delta_ppl_se, one); }},
      number("kl", "nats", [](const ReuseVariant& v) { return v.loss.kl; }),
      number("top1_agreement", "", [](const ReuseVariant& v) { return v.loss.top1_agreement; }),
      number("ppl", "", [](const ReuseVariant& v) { return v.loss.ppl; }),
      number("delta_nll", "nats", [](const ReuseVariant& v) { return v.loss.delta_nll; }),
      {{"delta_nll_se", "nats"},
       [=](const ReuseVariant& v) { return tables::real(v.loss.delta_nll_se, one); }}};
  return tables::make_table("sink_reuse", {"variant"}, fields, e.variants);
}

Table reuse_cost_table(const ReuseEvaluation& e) {
  using Row = ReuseVariant;
  const std::vector<Field> fields = {
      variant_name(),
      number("attention_flops_saved", "flops", [](const Row& r) { return r.full_cost.flops - r.cost.flops; }),
      number("cache_bytes_saved", "bytes",
             [](const Row& r) { return r.full_cost.cache_bytes - r.cost.cache_bytes; }),
      number("seconds_full", "s", [](const Row& r) { return r.seconds_full; }),
      number("seconds", "s", [](const Row& r) { return r.seconds; }),
      number("attention_seconds_full", "s", [](const Row& r) { return r.attention_seconds_full; }),
      number("attention_seconds", "s", [](const Row& r) { return r.attention_seconds; }),
      number("model_flops_saved_share", "",
             [](const Row& r) { return 1 - r.cost.model_flops / r.full_cost.model_flops; }),
      number("pattern_bytes", "bytes", [](const Row& r) { return r.cost.pattern_bytes; })};
  return tables::make_table("sink_reuse_cost", {"variant"}, fields, e.variants);
}

std::vector<figures::ReuseVariantRow> reuse_rows(const ReuseEvaluation& e) {
  std::vector<figures::ReuseVariantRow> rows;
  for (const ReuseVariant& v : e.variants)
    rows.push_back({.variant = name_of(v.substitute),
                    .delta_ppl = v.loss.delta_ppl,
                    .delta_ppl_se = v.loss.delta_ppl_se,
                    .kl = v.loss.kl,
                    .top1 = v.loss.top1_agreement,
                    .seconds = v.seconds,
                    .seconds_full = v.seconds_full,
                    .ppl_full = v.loss.ppl_full});
  return rows;
}

}  // namespace kvviz
