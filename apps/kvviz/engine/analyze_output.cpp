// SPDX-License-Identifier: MIT
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/figures/attention_figures.hpp"
#include "kvviz/figures/channels_figures.hpp"
#include "kvviz/figures/distribution_figures.hpp"
#include "kvviz/figures/generation_figures.hpp"
#include "kvviz/figures/heads_figures.hpp"
#include "kvviz/figures/layers_figures.hpp"
#include "kvviz/figures/tokens_figures.hpp"
#include "kvviz/stats/mean.hpp"
#include "kvviz/tables/analyze_tables.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/generation_tables.hpp"

namespace kvviz {
namespace {

using tables::integer;
using tables::real;

constexpr size_t shown_maps = 6;

void add_prediction_facts(std::vector<Fact>& facts, const Subject& subject) {
  if (!subject.scores) {
    const Null none{subject.has_model || subject.cache.tokens.ids.size() == 1
                        ? "a single token"
                        : "the cache file holds no losses; kvviz capture --queries stores them"};
    facts.push_back({"perplexity", none, "", "Perplexity of the text under the model"});
    return;
  }
  const auto& scores = *subject.scores;
  const double right =
      stats::mean_over(scores.top1, [](unsigned char hit) { return static_cast<double>(hit); });
  facts.push_back({"mean_nll", scores.mean_nll(), "nats", "Mean negative log-likelihood of a token"});
  facts.push_back({"perplexity", scores.perplexity(), "", "Perplexity of the text under the model"});
  facts.push_back({"top1_accuracy", right, "", "Share of tokens predicted right"});
}

void add_cache_facts(std::vector<Fact>& facts, const Analyses& a, const Focus& focus) {
  if (a.layers) {
    const auto& rows = a.layers->rows;
    const auto mean = [&](auto get) { return real(stats::mean_over(rows, get)); };
    facts.push_back({"k_hoyer", mean([](const auto& r) { return r.key.hoyer; }), "",
                     "Hoyer sparsity of the keys (0 dense, 1 sparse), mean over layers"});
    facts.push_back({"v_hoyer", mean([](const auto& r) { return r.value.hoyer; }), "",
                     "Hoyer sparsity of the values, mean over layers"});
    facts.push_back({"k_effective_rank", mean([](const auto& r) { return r.key.effective_rank; }), "",
                     "Effective rank of a head's keys, mean"});
    facts.push_back({"v_effective_rank", mean([](const auto& r) { return r.value.effective_rank; }), "",
                     "Effective rank of a head's values, mean"});
    facts.push_back({"cka_excess", mean([](const auto& r) { return r.cka_excess; }), "",
                     "CKA of keys and values above chance (0 none, 1 same geometry)"});
    facts.push_back({"legacy_k_sparsity", mean([](const auto& r) { return r.key.legacy.sparsity; }), "",
                     "Legacy: key elements below its threshold, mean over layers"});
    facts.push_back({"legacy_v_sparsity", mean([](const auto& r) { return r.value.legacy.sparsity; }), "",
                     "Legacy: value elements below its threshold, mean over layers"});
  }
  const auto count = [&](const char* key, size_t number, const char* label) {
    facts.push_back({key, integer(static_cast<int64_t>(number)), "", label});
  };
  if (a.channels)
    count("channel_outliers", a.channels->outliers.size(),
          "Outlier channels (RMS far above their head's median)");
  if (a.layers)
    count("legacy_prunable_layers", a.layers->legacy_prunable.size(), "Legacy: layers that it would prune");
  if (a.heads && focus.heads)
    count("legacy_prunable_heads", a.heads->legacy_prunable.size(), "Legacy: KV heads that it would prune");
  if (a.channels) {
    const auto& legacy = a.channels->legacy;
    count("legacy_prunable_channels", static_cast<size_t>(legacy.prunable_keys + legacy.prunable_values),
          "Legacy: channels of a head that it would prune, keys and values");
  }
}

void add_attention_facts(std::vector<Fact>& facts, const Subject& subject,
                         const analysis::AttentionResult& a) {
  const char* why = a.sink_reason.empty() ? "not defined here" : a.sink_reason.c_str();
  facts.push_back(
      {"sink_rate", real(a.sink_rate, why), "",
       cat("Sink heads: share of query heads with alpha_1 > ", a.sink_eps, " at T = ", a.sink_tokens)});
  facts.push_back({"alpha_1", real(a.alpha_1, why), "",
                   cat("Mean attention on the first token, first ", a.sink_tokens, " queries")});
  facts.push_back({"sink_mass", real(stats::mean_over(a.layers, [](const auto& l) { return l.sink_mass; })),
                   "", "Mean attention on the first token, all queries"});
  facts.push_back({"entropy_normalized",
                   real(stats::mean_over(a.layers, [](const auto& l) { return l.entropy_normalized; })), "",
                   "Attention entropy relative to uniform, mean"});
  if (!a.top_keys.empty()) {
    const auto& top = a.top_keys.front();
    facts.push_back({"heaviest_token",
                     cat(top.key, " \"", subject.cache.tokens.text[static_cast<size_t>(top.key)], '"'), "",
                     "Token that receives most attention for its exposure"});
  }
}

void add(std::vector<figures::NamedFigure>& all, std::vector<figures::NamedFigure> more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

figures::NamedFigure map_figure(const Subject& subject, const analysis::AttentionResult& attention) {
  std::vector<figures::AttentionMap> maps;
  for (const size_t index : figures::typical_heads(attention, shown_maps)) {
    const auto& head = attention.heads[index];
    const auto& measured = subject.attention[static_cast<size_t>(head.layer)][static_cast<size_t>(head.head)];
    const int64_t tokens = subject.cache.layers[static_cast<size_t>(head.layer)].tokens();
    maps.push_back({.layer = head.layer,
                    .head = head.head,
                    .what = tables::name_of(head.head_class),
                    .mean = measured.map,
                    .queries = tokens,
                    .keys = tokens});
  }
  figures::NamedFigure named = figures::attention_map_figure(maps);
  named.figure.caption =
      cat("The heads with the most and the least attention on the first token, mean distance and entropy. ",
          named.figure.caption);
  return named;
}

}  // namespace

std::vector<Fact> summary_facts(const Subject& subject, const Analyses& analyses, const Focus& focus) {
  const auto& layers = subject.cache.layers;
  std::vector<Fact> facts = {
      {"layers", integer(static_cast<int64_t>(layers.size())), "", "Layers"},
      {"tokens", integer(static_cast<int64_t>(subject.cache.tokens.ids.size())), "tokens",
       "Tokens in the cache"},
      {"cache_bytes", integer(subject.cache.bytes()), "bytes", "Keys and values as held"}};
  add_prediction_facts(facts, subject);
  if (analyses.attention) add_attention_facts(facts, subject, *analyses.attention);
  add_cache_facts(facts, analyses, focus);
  return facts;
}

std::vector<Table> result_tables(const Subject& subject, const Analyses& a, const Focus& focus) {
  const auto& texts = subject.cache.tokens.text;
  std::vector<Table> all;
  if (a.layers) all.push_back(tables::layers_table(*a.layers));
  if (a.heads && focus.heads) all.push_back(tables::heads_table(*a.heads));
  if (a.tokens) all.push_back(tables::tokens_table(*a.tokens, texts));
  if (a.generation) all.push_back(tables::generation_table(a.generation->cache));
  if (a.channels) all.push_back(tables::outliers_table(*a.channels));
  if (a.channels) all.push_back(tables::dimensions_table(*a.channels));
  if (a.distribution) all.push_back(tables::quantiles_table(*a.distribution));
  if (a.attention && focus.attention) {
    all.push_back(tables::attention_layers_table(*a.attention));
    all.push_back(tables::attention_heads_table(*a.attention));
    all.push_back(tables::attention_kv_heads_table(*a.attention));
    all.push_back(tables::top_keys_table(*a.attention, texts));
  }
  return all;
}

std::vector<figures::NamedFigure> result_figures(const Subject& subject, const Analyses& a,
                                                 const AnalyzeOptions& options, const Focus& focus) {
  const auto& texts = subject.cache.tokens.text;
  std::vector<figures::NamedFigure> all;
  if (a.layers) add(all, figures::layer_figures(*a.layers, options.layers));
  if (a.heads && focus.heads) add(all, figures::head_figures(*a.heads, options.heads));
  if (a.tokens) add(all, figures::token_figures(*a.tokens, texts));
  if (a.generation) {
    all.push_back(figures::generation_figure(*a.generation));
    const analysis::GenerationResult& cache = a.generation->cache;
    all.back().figure.subtitle =
        cat(short_name(subject.origin.model), ", ", subject.origin.text, ", a prompt of ", cache.prompt,
            " tokens, ", cache.end.tokens, " with the generated ones");
  }
  if (a.channels) add(all, figures::channel_figures(*a.channels, options.channels));
  if (a.distribution) add(all, figures::distribution_figures(*a.distribution));
  if (a.attention && focus.attention) {
    add(all, figures::attention_figures(*a.attention, texts));
    if (options.map_bins > 0) all.push_back(map_figure(subject, *a.attention));
  }
  return all;
}

nlohmann::ordered_json effective_options(const AnalyzeOptions& options) {
  nlohmann::ordered_json effective;
  const auto visit = [&](const auto& value, const char* name, const char*) { effective[name] = value; };
  if (options.cache.empty())
    add_text_options(effective, options.texts);
  else
    effective["cache"] = options.cache.string();
  effective["focus"] = options.focus;
  effective["generate"] = options.generate;
  effective["map-bins"] = options.map_bins;
  effective["gqa-agg"] = options.gqa_agg;
  analysis::LayersOptions::fields(options.layers, visit);
  analysis::HeadsOptions::fields(options.heads, visit);
  analysis::ChannelsOptions::fields(options.channels, visit);
  analysis::DistributionOptions::fields(options.distribution, visit);
  analysis::AttentionOptions::fields(options.attention, visit);
  analysis::LegacyOptions::fields(options.legacy, visit);
  return effective;
}

}  // namespace kvviz
