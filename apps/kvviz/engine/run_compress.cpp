// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/compress_recommend.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/figures/compress_figures.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/tables/compress_tables.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/over_texts.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

nlohmann::ordered_json effective_options(const CompressOptions& o, std::span<const CachePlan> plans) {
  nlohmann::ordered_json effective;
  if (o.cache.empty())
    add_options(effective, o.texts);
  else
    effective["cache"] = o.cache.string();
  add_options(effective, o.eviction);
  effective.erase("per-query-head");
  effective["gqa-agg"] = o.gqa_agg;
  std::vector<std::string> names;
  for (const CachePlan& plan : plans) names.push_back(plan.text);
  effective.update({{"methods", names},
                    {"sides", o.sides},
                    {"key-basis", o.key_basis},
                    {"prefix-tokens", o.prefix_tokens},
                    {"windows", o.windows},
                    {"streaming", o.streaming},
                    {"kivi-table", o.kivi_table},
                    {"recommend", o.recommend ? nlohmann::ordered_json(*o.recommend) : nullptr}});
  return effective;
}

/// The method with the fewest bytes that loses less than a limit, as a fact.
void add_smallest(std::vector<Fact>& facts, const analysis::CompressionStudy& s, double percent,
                  const std::string& key) {
  const analysis::CacheOutcome* best = smallest_within(s, percent);
  const std::string label = cat("Fewest bytes that change the perplexity by less than ", percent, " %");
  facts.push_back({key, best == nullptr ? Cell(Null{"no method does"}) : Cell(best->method), "", label});
  if (best == nullptr) return;
  facts.push_back({key + "_ratio", tables::real(best->ratio()), "", "  how many times smaller than f16"});
  facts.push_back({key + "_delta_ppl_percent", tables::real(best->delta_ppl_percent()), "%",
                   "  increase of the perplexity"});
  facts.push_back({key + "_delta_ppl_percent_se",
                   tables::real(best->delta_ppl_percent_se(), "a single block"), "%",
                   "  its standard error"});
  facts.push_back({key + "_kl", tables::real(best->kl), "nats", "  KL divergence"});
  facts.push_back({key + "_top1_agreement", tables::real(best->top1_agreement), "",
                   "  agreement of the most likely token"});
}

std::vector<Fact> facts_of(const analysis::CompressionStudy& s) {
  using tables::integer;
  using tables::real;
  const analysis::CacheOutcome& first = s.outcomes.front();
  std::vector<Fact> facts{
      {"texts", integer(s.texts), "", "Texts"},
      {"tokens", integer(s.tokens), "tokens", "Tokens of all texts"},
      {"sides", s.sides, "", "What is coded"},
      {"key_basis", s.key_basis, "", "Keys are coded"},
      {"coded_tokens", real(first.tokens), "tokens", "Tokens of a coded cache, mean"},
      {"f16_bytes_per_token", real(first.f16_bytes / first.tokens), "bytes", "Cache of a token in f16"}};
  if (s.when.empty()) return facts;
  const std::vector<Fact> of_model{
      {"when", s.when, "", "The cache is coded"},
      {"predictions", integer(first.predictions), "", "Predictions behind them"},
      {"coded_share", real(s.coded_share), "", "Share of the keys they see that are coded, mean"},
      {"full_ppl", real(s.full_ppl), "", "Their perplexity with the cache as it is"},
      {"full_nll", real(s.full_nll), "nats", "Their negative log-likelihood"}};
  facts.insert(facts.end(), of_model.begin(), of_model.end());
  add_smallest(facts, s, 1, "smallest_1_percent");
  add_smallest(facts, s, 0.1, "smallest_0_1_percent");
  return facts;
}

void add_recommendation(std::vector<Fact>& facts, const analysis::CompressionStudy& s, double limit) {
  using tables::real;
  const std::string label = cat("By layer, for a change of at most ", limit, " %");
  if (!s.recommendation) {
    facts.push_back({"recommended",
                     Null{"no method of the frontier that works on single layers is within the limit"}, "",
                     label});
    return;
  }
  const analysis::Recommendation& r = *s.recommendation;
  facts.push_back({"recommended", r.outcome.method, "", label});
  facts.push_back({"recommended_ratio", real(r.outcome.ratio()), "", "  how many times smaller than f16"});
  facts.push_back({"recommended_delta_ppl_percent", real(r.outcome.delta_ppl_percent()), "%",
                   "  increase of the perplexity, measured"});
  facts.push_back({"recommended_delta_ppl_percent_se",
                   real(r.outcome.delta_ppl_percent_se(), "a single block"), "%", "  its standard error"});
  facts.push_back({"recommended_saving",
                   real(100 * (1 - r.outcome.bytes_per_token() / r.uniform_bytes),
                        "no single method is within the limit"),
                   "%", "  bytes saved over the smallest single method"});
}

/// Tables and figures of a study; `what` heads the figures.
void put_out(Result& result, Delivery& delivery, const analysis::CompressionStudy& study,
             const std::string& what, const OutputOptions& output) {
  result.summary = facts_of(study);
  result.tables = {tables::compress_table(study), tables::compress_layers_table(study)};
  if (!study.when.empty()) {
    result.tables.push_back(tables::compress_heads_table(study));
    result.tables.push_back(tables::compress_texts_table(study));
  }
  if (!output.no_plots) delivery.figures = figures::compress_figures(study, what);
  delivery.subtitle = what;
  if (!study.when.empty()) {
    result.tables.insert(result.tables.begin(), tables::compress_frontier_table(study));
    delivery.shown_tables.push_back(result.tables.front().name);
  }
  delivery.shown_tables.push_back("compress");
  delivery.shown_rows = 120;
}

int run_on_cache(const CompressOptions& o, std::vector<CachePlan> plans, Delivery delivery) {
  const Subject subject = open_cache(o.cache);
  leave_out_unfit(plans, shapes_of(subject.cache), o);
  const auto study = compress_cache(subject.cache, plans, o);
  const SubjectOrigin& origin = subject.origin;
  Result result{.command = "compress",
                .provenance = provenance_of(origin, o.call, effective_options(o, plans))};
  delivery.heading = cat(origin.model, origin.model.empty() ? "" : ", ", origin.text);
  put_out(result, delivery, study, cat(short_name(origin.model), ", ", o.cache.filename().string()),
          o.output);
  return deliver(std::move(result), std::move(delivery), o.output);
}

void check_text(const batch::PlannedText& text, const CompressOptions& o) {
  if (o.streaming)
    require(text.tokens >= 2, text.name, " has one token, BOS included; there is nothing to predict");
  else
    windows_of(text.name, text.tokens, trial_options(o));
}

std::unique_ptr<TextRun> open_compress_texts(const CompressOptions& o) {
  return open_trial_texts({.command = "compress",
                           .call = o.call,
                           .model = o.model,
                           .texts = o.texts,
                           .out = o.output.out,
                           .check = [&](const batch::PlannedText& text) { check_text(text, o); }});
}

int run_on_texts(const CompressOptions& o, std::vector<CachePlan> plans, Delivery delivery) {
  const auto texts = open_compress_texts(o);
  check_basis(texts->config(), trial_options(o));
  leave_out_unfit(plans, shapes_of(texts->config()), o);
  if (o.recommend) texts->require_whole("--recommend");
  const stats::SerialBlas serial;
  texts->measure({.doing = "coding the caches", .alone = !o.no_timings},
                 [&](const TextRun::Work& work) { return measure_compress(work, plans, o); });
  if (texts->only_a_shard()) return 0;

  auto [study, kivi] = gather_compress(*texts, plans, o);
  if (o.recommend) study.recommendation = recommend(texts->runner(), texts->texts(), study, plans, o);
  const SubjectOrigin origin = texts->origin();
  Result result{.command = "compress", .provenance = texts->provenance(o.call, effective_options(o, plans))};
  delivery.heading = cat(origin.model, ", ", origin.text);
  put_out(result, delivery, study, cat(short_name(origin.model), ", ", origin.text), o.output);
  if (o.recommend) add_recommendation(result.summary, study, *o.recommend);
  if (study.recommendation) {
    result.tables.push_back(tables::compress_recommendation_table(*study.recommendation));
    delivery.shown_tables.push_back(result.tables.back().name);
    delivery.advice = recommendation_json(*study.recommendation, origin);
  }
  if (kivi) {
    result.summary.push_back({"attention_sparsity", tables::real(kivi->sparsity), "%",
                              "Keys with less than 1 % of the greatest weight"});
    result.tables.push_back(tables::kivi_table(*kivi));
    delivery.shown_tables.push_back(result.tables.back().name);
    result.tables.push_back(tables::kivi_layers_table(*kivi));
  }
  tables::add_over_texts(result, "compress_texts", tables::judged_facts);
  texts->add_failures(result, delivery);
  return deliver(std::move(result), std::move(delivery), o.output);
}

int run(const CompressOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  std::vector<CachePlan> plans = plans_of(o);
  set_threads(o.call.threads);
  return o.cache.empty() ? run_on_texts(o, std::move(plans), std::move(delivery))
                         : run_on_cache(o, std::move(plans), std::move(delivery));
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_compress(const kvviz::CompressOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
