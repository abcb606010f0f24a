// SPDX-License-Identifier: MIT
#include "kvviz/tables/sink_tables.hpp"

#include <cmath>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/mean.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* one_text = "one text has no spread";
constexpr const char* no_score = "no text has this score";
constexpr const char* too_short = "no text is so long";

/// Mean and spread over texts; `none`: why there is no mean.
template <class Row, class Get>
void add_spread(std::vector<Field<Row>>& fields, const std::string& name, Get get,
                const char* none = no_score) {
  fields.push_back({{name}, [get, none](const Row& r) { return real(get(r).mean, none); }});
  fields.push_back({{name + "_sd"}, [get, none](const Row& r) {
                      const Spread& spread = get(r);
                      return real(spread.sd, spread.count == 0 ? none : one_text);
                    }});
}

double rate_of(const std::vector<double>& scores, const SinkRule& rule) {
  double sinks = 0, known = 0;
  for (const double score : scores) {
    sinks += rule.holds(score) ? 1 : 0;
    known += std::isnan(score) ? 0 : 1;
  }
  return known > 0 ? sinks / known : kNone;
}

}  // namespace

Table sink_heads_table(const SinkSummary& summary) {
  using Row = StudyHead;
  const auto decides = static_cast<size_t>(summary.rule.metric);
  std::vector<Field<Row>> fields = {{whole("layer"), [](const Row& r) { return integer(r.name.layer); }},
                                    {whole("head"), [](const Row& r) { return integer(r.name.head); }},
                                    {whole("kv_head"), [](const Row& r) { return integer(r.name.kv_head); }},
                                    {{"sink_share"}, [decides](const Row& r) {
                                       return r.score[decides].count == 0 ? Cell(Null{no_score})
                                                                          : real(r.sink_share);
                                     }}};
  for (size_t m = 0; m < sink_metric_count; ++m)
    add_spread(fields, sink_metrics()[m].name, [m](const Row& r) { return r.score[m]; });
  for (size_t c = 0; c < sink_counts.size(); ++c)
    fields.push_back({{sink_counts[c], "keys"},
                      [c](const Row& r) { return real(r.counts[c].mean, "keys were not counted"); }});
  return make_table("sink_heads", {"layer", "head"}, fields, summary.heads);
}

Table sink_layers_table(const SinkSummary& summary) {
  using Row = StudyLayer;
  std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {{"rate"}, [](const Row& r) { return real(r.rate, no_score); }},
      {{"rate_of_mean"}, [](const Row& r) { return real(r.rate_of_mean, no_score); }},
      {{"group_rate"}, [](const Row& r) { return real(r.group_rate, no_score); }}};
  add_spread(fields, info_of(summary.rule.metric).name, [](const Row& r) { return r.score; });
  return make_table("sink_layers", {"layer"}, fields, summary.layers);
}

Table sink_texts_table(const SinkStudy& study, const SinkRule& rule) {
  using Row = PromptSinks;
  const auto decides = static_cast<size_t>(rule.metric);
  std::vector<Field<Row>> fields = {
      {whole("text"), [](const Row& r) { return integer(r.text); }},
      {{"name", "", ColumnType::text}, [](const Row& r) { return Cell(r.name); }},
      {whole("tokens", "tokens"), [](const Row& r) { return integer(r.tokens); }},
      {{"rate"}, [=](const Row& r) { return real(rate_of(r.score[decides], rule), no_score); }}};
  for (size_t m = 0; m < sink_metric_count; ++m)
    fields.push_back({{sink_metrics()[m].name}, [m](const Row& r) {
                        return real(stats::mean_over(r.score[m]), "not defined for this text");
                      }});
  return make_table("sink_texts", {"text"}, fields, study.prompts);
}

Table sink_lengths_table(const SinkSummary& summary) {
  using Row = LengthPoint;
  std::vector<Field<Row>> fields = {
      {whole("length", "tokens"), [](const Row& r) { return integer(r.length); }},
      {whole("texts"), [](const Row& r) { return integer(r.rate.count); }}};
  add_spread(
      fields, "rate", [](const Row& r) { return r.rate; }, too_short);
  add_spread(
      fields, "alpha", [](const Row& r) { return r.alpha; }, too_short);
  fields.push_back(
      {{"uniform"}, [](const Row& r) { return real(r.uniform, "uniform attention: for k = 1 only"); }});
  return make_table("sink_lengths", {"length"}, fields, summary.by_length);
}

Table sink_sweep_table(const SinkSummary& summary) {
  using Row = ThresholdPoint;
  const std::vector<Field<Row>> fields = {
      {{"threshold"}, [](const Row& r) { return real(r.threshold); }},
      {{"rate"}, [](const Row& r) { return real(r.rate, no_score); }},
      {{"rate_of_mean"}, [](const Row& r) { return real(r.rate_of_mean, no_score); }},
      {{"group_rate"}, [](const Row& r) { return real(r.group_rate, no_score); }}};
  return make_table("sink_sweep", {"threshold"}, fields, summary.sweep);
}

Table sink_across_layers_table(const SinkStudy& study, const AcrossLayers& all,
                               std::span<const AcrossLayers> by_text) {
  struct Row {
    std::string text;
    const AcrossLayers* across;
  };
  std::vector<Row> rows{{"all", &all}};
  for (size_t i = 0; i < by_text.size(); ++i)
    rows.push_back({std::to_string(study.prompts[i].text), &by_text[i]});
  std::vector<Field<Row>> fields = {
      {{"text", "", ColumnType::text}, [](const Row& r) { return Cell(r.text); }},
      {whole("first_layer_sinks"), [](const Row& r) { return integer(r.across->first_sinks); }}};
  struct Number {
    const char* name;
    double AcrossLayers::*value;
    const char* reason;  ///< where the run as a whole gives none
  };
  constexpr const char* few = "fewer than 2 head indices are sinks in the first layer";
  const Number numbers[] = {
      {"p_later", &AcrossLayers::p_later, no_score},
      {"p_later_low", &AcrossLayers::low, few},
      {"p_later_high", &AcrossLayers::high, few},
      {"p_later_not", &AcrossLayers::p_later_not, "every head of the first layer is a sink"},
      {"base", &AcrossLayers::base, no_score},
      {"lift", &AcrossLayers::lift, "no sink in a later layer"},
      {"phi", &AcrossLayers::phi, "all heads of the first layer, or all later ones, are alike"},
      {"phi_adjacent", &AcrossLayers::phi_adjacent, "no two neighbouring layers both have sinks and others"}};
  for (const Number& number : numbers)
    fields.push_back({{number.name}, [number](const Row& r) {
                        const AcrossLayers& across = *r.across;
                        const bool own =
                            across.reason.empty() ||
                            (number.value == &AcrossLayers::phi_adjacent && !std::isnan(across.base));
                        return real(across.*number.value, own ? number.reason : across.reason.c_str());
                      }});
  return make_table("sink_across_layers", {"text"}, fields, rows);
}

Table sink_tokens_table(std::span<const LayerSinks> layers) {
  struct Row {
    const LayerSinks* layer;
    size_t kind;
  };
  std::vector<Row> rows;
  for (const LayerSinks& layer : layers)
    for (size_t kind = 0; kind < token_kind_count; ++kind) rows.push_back({&layer, kind});
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer->layer); }},
      {{"kind", "", ColumnType::text},
       [](const Row& r) { return Cell(std::string(name_of(static_cast<TokenKind>(r.kind)))); }},
      {whole("tokens", "tokens"), [](const Row& r) { return integer(r.layer->kind_tokens[r.kind]); }},
      {whole("sink_keys", "keys"), [](const Row& r) { return integer(r.layer->sink_keys[r.kind]); }},
      {{"mass"}, [](const Row& r) { return real(r.layer->mass[r.kind]); }}};
  return make_table("sink_tokens", {"layer", "kind"}, fields, rows);
}

Table sink_norms_table(std::span<const LayerSinks> layers) {
  using Row = LayerSinks;
  struct Norm {
    const char* name;
    double LayerSinks::*value;
    const char* reason;
  };
  constexpr const char *unknown = "norms were not measured", *no_key = "no sink key in this layer";
  const Norm norms[] = {
      {"k_norm_first", &Row::k_norm_first, unknown}, {"k_norm_sinks", &Row::k_norm_sinks, no_key},
      {"k_norm_rest", &Row::k_norm_rest, unknown},   {"v_norm_first", &Row::v_norm_first, unknown},
      {"v_norm_sinks", &Row::v_norm_sinks, no_key},  {"v_norm_rest", &Row::v_norm_rest, unknown}};
  std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {whole("norm_keys", "keys"), [](const Row& r) { return integer(r.norm_keys); }}};
  for (const Norm& norm : norms)
    fields.push_back({{norm.name}, [norm](const Row& r) { return real(r.*norm.value, norm.reason); }});
  return make_table("sink_norms", {"layer"}, fields, layers);
}

}  // namespace kvviz::tables
