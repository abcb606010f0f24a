// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/sink_output.hpp"
#include "kvviz/engine/sink_reuse_run.hpp"
#include "kvviz/figures/attention_figures.hpp"
#include "kvviz/figures/sink_figures.hpp"
#include "kvviz/tables/over_texts.hpp"
#include "kvviz/tables/sink_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

analysis::SinkRule rule_of(const SinksOptions& o) {
  const auto metric = analysis::parse_sink_metric(o.metric);
  const auto& info = analysis::info_of(metric);
  const double threshold = o.threshold.value_or(info.threshold);
  if (info.is_share)
    require<UsageError>(threshold > 0 && threshold < 1, "--threshold ", threshold, " of ", info.name,
                        ": expected a number between 0 and 1, both excluded");
  else
    require<UsageError>(threshold > 0, "--threshold ", threshold, " of ", info.name,
                        ": expected a number above 0");
  return {metric, threshold};
}

// Powers of two up to the longest text, and that text itself.
std::vector<int64_t> default_lengths(int64_t longest, int64_t k) {
  std::vector<int64_t> lengths;
  for (int64_t n = 4; n < longest; n *= 2)
    if (n > k) lengths.push_back(n);
  lengths.push_back(longest);
  return lengths;
}

std::vector<int64_t> lengths_for(const SinksOptions& o, int64_t longest) {
  if (o.lengths.empty()) return default_lengths(longest, o.sinks.k);
  std::vector<int64_t> lengths = o.lengths;
  std::ranges::sort(lengths);
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  require(lengths.back() <= longest, "--lengths has ", lengths.back(), "; the longest text has ", longest,
          " tokens. Give longer texts (--seq-len) or shorter lengths");
  require<UsageError>(lengths.front() >= std::max<int64_t>(2, o.sinks.k), "--lengths has ", lengths.front(),
                      "; expected at least 2 and at least --sink-token");
  return lengths;
}

void check_text(const batch::PlannedText& text, const SinksOptions& o, const analysis::SinkRule& rule) {
  require(text.tokens >= 2, text.name, " has one token, BOS included; sinks need at least 2");
  require(rule.metric != analysis::SinkMetric::alpha || text.tokens >= o.sinks.tokens, text.name, " has ",
          text.tokens, " tokens, fewer than --tokens-per-sequence ", o.sinks.tokens,
          ", the T of alpha. Give longer texts, a smaller --tokens-per-sequence, or --metric share0");
}

nlohmann::ordered_json effective_options(const SinksOptions& o, const analysis::SinkRule& rule,
                                         bool synthetic) {
  nlohmann::ordered_json effective;
  if (!synthetic) add_options(effective, o.texts);
  effective["metric"] = o.metric;
  effective["threshold"] = rule.threshold;
  analysis::SinkOptions::fields(
      o.sinks, [&](const auto& value, const char* name, const char*) { effective[name] = value; });
  effective["lengths"] = o.lengths;
  if (!synthetic) effective["map-bins"] = o.map_bins;
  if (o.synthetic_fit.empty() && !synthetic) return effective;
  effective["synthetic"] = o.synthetic;
  effective["synthetic-fit"] = o.synthetic_fit.string();
  effective["seed"] = o.texts.seed;
  return effective;
}

SinkRun synthetic_run(const SinksOptions& o, const analysis::SinkRule& rule) {
  SinkRun run;
  run.synthetic = true;
  if (!o.synthetic_fit.empty()) {
    run.study = analysis::fitted_study(read_sink_study(o.synthetic_fit), rule, o.texts.seed);
  } else {
    analysis::SyntheticOptions random = o.random;
    random.seed = o.texts.seed;
    run.study = analysis::synthetic_study(random);
    require<UsageError>(
        !std::isnan(run.study.prompts.front().score[static_cast<size_t>(rule.metric)].front()), "--metric ",
        o.metric, ": the random model has scores of share0, share0_later and excess only");
  }
  for (const auto& prompt : run.study.prompts) run.tokens.push_back(prompt.tokens);
  const std::string what =
      o.synthetic_fit.empty() ? o.synthetic : cat("fitted to ", o.synthetic_fit.string());
  run.origin = {.model = cat("synthetic ", what),
                .architecture = "none",
                .dtype = "none",
                .text = "random numbers, no model was run",
                .bos = "none"};
  return run;
}

TextRun::Request request_of(const SinksOptions& o, const analysis::SinkRule& rule) {
  return {.command = "sinks",
          .call = o.call,
          .model = o.model,
          .texts = o.texts,
          .out = o.output.out,
          .check = [&](const batch::PlannedText& text) { check_text(text, o, rule); }};
}

/// Measures the texts, and with --evaluate-reuse what it costs; nothing where only a shard was measured.
std::optional<SinkRun> model_run(TextRun& texts, const SinksOptions& o,
                                 std::optional<ReuseEvaluation>& reuse) {
  SinksOptions effective = o;
  effective.lengths = lengths_for(o, texts.longest());
  if (o.reuse.evaluate) texts.require_whole("--evaluate-reuse");
  check_reuse(o.reuse, texts.config().layers.size());
  const int64_t shown = texts.first();
  texts.measure({.doing = "running the texts"}, [&](const TextRun::Work& work) {
    return measure_sinks(work, effective, work.index == shown ? o.map_bins : 0);
  });
  if (texts.only_a_shard()) return std::nullopt;
  SinkRun run = gather_sinks(texts, effective);
  if (o.reuse.evaluate) reuse = evaluate_reuse(texts.runner(), texts.texts(), run.study, o);
  return run;
}

std::vector<Table> tables_of(const SinkRun& run, const SinkFindings& findings) {
  const analysis::SinkSummary& summary = findings.summary;
  std::vector<Table> all{tables::sink_layers_table(summary), tables::sink_heads_table(summary),
                         tables::sink_texts_table(run.study, summary.rule)};
  if (!summary.by_length.empty()) all.push_back(tables::sink_lengths_table(summary));
  all.push_back(tables::sink_sweep_table(summary));
  all.push_back(tables::sink_across_layers_table(run.study, findings.all, findings.by_text));
  if (!run.layers.empty()) {
    all.push_back(tables::sink_tokens_table(run.layers));
    all.push_back(tables::sink_norms_table(run.layers));
  }
  if (!run.synthetic) return all;
  for (Table& table : all) {  // so that no file of numbers passes for measured ones
    table.columns.push_back({"source", "", ColumnType::text});
    for (auto& row : table.rows) row.emplace_back(std::string("synthetic"));
  }
  return all;
}

// Heads worth a look: the strongest and the weakest, and some between.
std::vector<size_t> example_heads(const analysis::SinkSummary& summary, size_t count) {
  const auto mean = [&](size_t h) {
    return summary.heads[h].score[static_cast<size_t>(summary.rule.metric)].mean;
  };
  std::vector<size_t> order(summary.heads.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return mean(a) > mean(b); });
  std::vector<size_t> chosen;
  const size_t shown = std::min(count, order.size());
  for (size_t i = 0; i < shown; ++i)
    chosen.push_back(order[shown == 1 ? 0 : i * (order.size() - 1) / (shown - 1)]);
  std::ranges::sort(chosen);
  return chosen;
}

// alpha's label says whose attention it is and is short; other labels are sentences.
const char* short_label(analysis::SinkMetric metric) {
  const analysis::SinkMetricInfo& info = analysis::info_of(metric);
  return metric == analysis::SinkMetric::alpha ? info.label : info.name;
}

std::vector<figures::AttentionMap> maps_of(const SinkRun& run, const analysis::SinkSummary& summary,
                                           std::span<const size_t> heads) {
  std::vector<figures::AttentionMap> maps;
  for (const size_t h : heads) {
    const analysis::StudyHead& head = summary.heads[h];
    const double score = run.study.prompts.front().score[static_cast<size_t>(summary.rule.metric)][h];
    maps.push_back(
        {.layer = head.name.layer,
         .head = head.name.head,
         .what = std::isnan(score) ? "" : fmt::format("{} {:.2f}", short_label(summary.rule.metric), score),
         .mean = run.maps[static_cast<size_t>(head.name.layer)][static_cast<size_t>(head.name.head)].map,
         .queries = run.tokens.front(),
         .keys = run.tokens.front()});
  }
  return maps;
}

std::string tokens_of(const SinkRun& run) {
  const auto [fewest, most] = std::ranges::minmax(run.tokens);
  return fewest == most ? cat(most, " tokens") : cat(fewest, " to ", most, " tokens");
}

std::string origin_of(const SinkRun& run) {
  return cat(short_name(run.origin.model), ", ", run.origin.text, ", ", tokens_of(run));
}

std::string subtitle_of(const SinkRun& run, const SinksOptions& o, const analysis::SinkRule& rule) {
  if (run.synthetic)
    return cat(o.synthetic_fit.empty() ? o.synthetic : "fitted to " + short_name(o.synthetic_fit.string()),
               ", seed ", o.texts.seed, ", ", run.study.layers(), " layers, ", run.study.heads.size(),
               " heads, ", run.tokens.size(), " texts of ", tokens_of(run));
  std::string subtitle = origin_of(run);
  if (rule.metric == analysis::SinkMetric::alpha)
    subtitle += cat("; alpha_k: k = ", o.sinks.k, ", T = ", o.sinks.tokens);
  if (rule.metric == analysis::SinkMetric::recent) subtitle += cat("; last ", o.sinks.recent, " queries");
  return subtitle;
}

/// Maps are of one text.
std::string map_subtitle(const SinkRun& run) {
  return cat(short_name(run.origin.model), run.tokens.size() > 1 ? ", first text: " : ", ",
             run.study.prompts.front().name, ", ", run.tokens.front(), " tokens");
}

std::string reuse_subtitle(const SinkRun& run, const ReuseEvaluation& reuse) {
  return cat(
      short_name(run.origin.model), ", ", reuse.replaced, " of ", reuse.heads, " query heads replaced, ",
      reuse.texts, reuse.texts == 1 ? " text" : " texts",
      reuse.same_texts ? " (the one that chose the heads)" : ", others than those that chose the heads");
}

std::vector<figures::NamedFigure> figures_of(const SinkRun& run, const SinkFindings& findings,
                                             const SinksOptions& o) {
  auto all = figures::sink_figures(
      {.study = &run.study,
       .summary = &findings.summary,
       .across = &findings.all,
       .layers = run.layers,
       .synthetic = run.synthetic,
       .subtitle = subtitle_of(run, o, findings.summary.rule),
       .subtitle_over_lengths = run.synthetic ? "" : cat(origin_of(run), "; alpha_k: k = ", o.sinks.k)});
  if (run.maps.empty() || o.map_bins == 0) return all;
  constexpr size_t examples = 6;
  const auto chosen = example_heads(findings.summary, examples);
  all.push_back(
      figures::attention_map_figure(maps_of(run, findings.summary, chosen), "sinks/attention_maps"));
  all.back().figure.subtitle = map_subtitle(run);
  if (!o.all_maps) return all;
  std::vector<size_t> every(run.study.heads.size());
  std::iota(every.begin(), every.end(), size_t{0});
  for (auto& page : figures::all_heads_figures(maps_of(run, findings.summary, every))) {
    page.figure.subtitle = map_subtitle(run);
    all.push_back(std::move(page));
  }
  return all;
}

int sinks(const SinksOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  const analysis::SinkRule rule = rule_of(o);
  analysis::validate(o.sinks);
  set_threads(o.call.threads);
  std::optional<TextRun> texts;
  std::optional<ReuseEvaluation> reuse;
  const bool synthetic = !o.synthetic.empty() || !o.synthetic_fit.empty();
  if (!synthetic) texts.emplace(request_of(o, rule));
  const auto measured = synthetic ? std::optional(synthetic_run(o, rule)) : model_run(*texts, o, reuse);
  if (!measured) return 0;
  const SinkRun& run = *measured;
  const SinkFindings findings = find_sinks(run.study, rule, o.sinks);
  const auto effective = effective_options(o, rule, synthetic);
  Result result{.command = "sinks",
                .provenance = synthetic ? provenance_of(run.origin, o.call, effective)
                                        : texts->provenance(o.call, effective)};
  result.summary = sink_facts(run, findings, o.sinks);
  result.tables = tables_of(run, findings);
  if (!o.output.no_plots) delivery.figures = figures_of(run, findings, o);
  if (reuse) {
    std::ranges::move(reuse_facts(*reuse), std::back_inserter(result.summary));
    result.tables.push_back(reuse_table(*reuse));
    result.tables.push_back(reuse_cost_table(*reuse));
    if (!o.output.no_plots && reuse->replaced > 0) {
      delivery.figures.push_back(figures::reuse_figure(reuse_rows(*reuse)));
      delivery.figures.back().figure.subtitle = reuse_subtitle(run, *reuse);
    }
  }
  if (texts) {
    tables::add_over_texts(result, "sink_texts");
    texts->add_failures(result, delivery);
  }
  delivery.heading = cat(run.origin.model, ", ", run.origin.text);
  delivery.subtitle = subtitle_of(run, o, rule);
  delivery.shown_tables = {"sink_layers", "sink_lengths", "sink_reuse", "sink_reuse_cost"};
  delivery.write_arrays = [&](const auto& file) { write_sink_arrays(file, run); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_sinks(const kvviz::SinksOptions& options) {
  return kvviz::guarded([&] { return kvviz::sinks(options); });
}
