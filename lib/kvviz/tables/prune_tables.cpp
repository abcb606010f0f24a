// SPDX-License-Identifier: MIT
#include "kvviz/tables/prune_tables.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/tables/cache_outcome_tables.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_error = "fewer than two texts, or blocks of a single text";
const char* untimed(const PruneVariant& v) {
  return v.smaller_store ? "not measured: --no-timings, or no tokens left after the prefix and 8 to warm up"
                         : "not measured: every KV head holds every token; channels and small elements are 0 "
                           "in a store of full size, and a query head alone saves none";
}

double saved_percent(const CacheOutcome& o) {
  return 100 * (o.f16_bytes - o.bytes()) / o.f16_bytes;
}

/// Columns that both studies have. `outcome`: of a row.
template <class Row, class Get>
void add_loss(std::vector<Field<Row>>& fields, Get outcome) {
  const auto number = [&](const char* name, const char* unit, double CacheOutcome::*value,
                          const char* reason = "not measured") {
    fields.push_back({{name, unit}, [=](const Row& r) { return real(outcome(r).*value, reason); }});
  };
  fields.push_back({{"saved_percent", "%"}, [=](const Row& r) { return real(saved_percent(outcome(r))); }});
  fields.push_back(
      {{"delta_ppl_percent", "%"}, [=](const Row& r) { return real(outcome(r).delta_ppl_percent()); }});
  fields.push_back({{"delta_ppl_percent_se", "%"},
                    [=](const Row& r) { return real(outcome(r).delta_ppl_percent_se(), no_error); }});
  number("kl", "nats", &CacheOutcome::kl);
  number("top1_agreement", "", &CacheOutcome::top1_agreement);
  number("delta_nll", "nats", &CacheOutcome::delta_nll);
  number("delta_nll_se", "nats", &CacheOutcome::delta_nll_se, no_error);
}

template <class Row, class Get>
void add_rest(std::vector<Field<Row>>& fields, Get outcome) {
  const auto number = [&](const char* name, const char* unit, double CacheOutcome::*value,
                          const char* reason = "not measured") {
    fields.push_back({{name, unit}, [=](const Row& r) { return real(outcome(r).*value, reason); }});
  };
  number("nll", "nats", &CacheOutcome::nll);
  number("ppl", "", &CacheOutcome::ppl);
  number("delta_ppl", "", &CacheOutcome::delta_ppl);
  number("delta_ppl_se", "", &CacheOutcome::delta_ppl_se, no_error);
  number("kl_max", "nats", &CacheOutcome::kl_max);
  number("output_error", "", &CacheOutcome::output_error);
  number("payload_bytes", "bytes", &CacheOutcome::payload_bytes);
  number("metadata_bytes", "bytes", &CacheOutcome::metadata_bytes);
  fields.push_back(
      {{"resident_bytes", "bytes"}, [=](const Row& r) { return real(outcome(r).resident_bytes()); }});
  number("f16_bytes", "bytes", &CacheOutcome::f16_bytes);
}

const char* side_name(std::optional<Half> half) {
  return !half ? "both" : *half == Half::key ? "keys" : "values";
}

}  // namespace

Table prune_table(const PruningStudy& study) {
  using Row = PruneVariant;
  const auto outcome = [](const Row& r) -> const CacheOutcome& { return r.outcome; };
  std::vector<Field<Row>> fields{{word("removed"), [](const Row& r) { return Cell(r.outcome.method); }}};
  add_loss(fields, outcome);
  const auto timed = [&](const char* name, DecodeTime Row::*time, double DecodeTime::*value) {
    fields.push_back({{name, "ms"}, [=](const Row& r) { return real(r.*time.*value, untimed(r)); }});
  };
  fields.push_back({word("what"), [](const Row& r) { return Cell(r.outcome.summary); }});
  timed("full_decode_ms", &Row::full_time, &DecodeTime::median);
  timed("decode_ms", &Row::time, &DecodeTime::median);
  fields.push_back(
      {number("bytes_per_token", "bytes"), [](const Row& r) { return real(r.outcome.bytes_per_token()); }});
  fields.push_back({number("key_zeros_percent", "%"), [](const Row& r) { return real(100 * r.key_zeros); }});
  fields.push_back(
      {number("value_zeros_percent", "%"), [](const Row& r) { return real(100 * r.value_zeros); }});
  timed("full_decode_q1_ms", &Row::full_time, &DecodeTime::lower);
  timed("full_decode_q3_ms", &Row::full_time, &DecodeTime::upper);
  timed("decode_q1_ms", &Row::time, &DecodeTime::lower);
  timed("decode_q3_ms", &Row::time, &DecodeTime::upper);
  fields.push_back({whole("decode_steps"), [](const Row& r) { return integer(r.steps); }});
  fields.push_back({number("full_store_bytes", "bytes"),
                    [](const Row& r) { return real(r.full_store_bytes, untimed(r)); }});
  fields.push_back(
      {number("store_bytes", "bytes"), [](const Row& r) { return real(r.store_bytes, untimed(r)); }});
  fields.push_back({number("key_error"), [](const Row& r) { return real(r.outcome.key_error); }});
  fields.push_back({number("value_error"), [](const Row& r) { return real(r.outcome.value_error); }});
  add_rest(fields, outcome);
  fields.push_back({whole("texts"), [](const Row& r) { return integer(r.outcome.texts); }});
  fields.push_back({whole("predictions"), [](const Row& r) { return integer(r.outcome.predictions); }});
  return make_table("prune", {"removed"}, fields, study.variants);
}

Table prune_layers_table(const PruningStudy& study) {
  struct Row {
    const PruneVariant* variant;
    const CacheOutcomeLayer* layer;
  };
  std::vector<Row> rows;
  for (const PruneVariant& variant : study.variants)
    for (const CacheOutcomeLayer& layer : variant.outcome.layers) rows.push_back({&variant, &layer});
  const std::vector<Field<Row>> fields = {
      {word("removed"), [](const Row& r) { return Cell(r.variant->outcome.method); }},
      {whole("layer"), [](const Row& r) { return integer(r.layer->layer); }},
      {number("output_error"), [](const Row& r) { return real(r.layer->output_error); }},
      {number("key_error"), [](const Row& r) { return real(r.layer->key_error); }},
      {number("value_error"), [](const Row& r) { return real(r.layer->value_error); }},
      {number("bytes", "bytes"), [](const Row& r) { return real(r.layer->bytes); }}};
  return make_table("prune_layers", {"removed", "layer"}, fields, rows);
}

Table prune_heads_table(const PruningStudy& study) {
  std::vector<NamedOutcome> outcomes;
  for (const PruneVariant& variant : study.variants)
    outcomes.push_back({{variant.outcome.method}, &variant.outcome});
  return head_errors_table("prune_heads", {"removed"}, outcomes);
}

Table prune_texts_table(const PruningStudy& study) {
  std::vector<NamedText> named;
  for (const TextOutcome& text : study.by_text)
    named.push_back({{study.variants[text.outcome].outcome.method}, &text});
  return text_outcomes_table("prune_texts", {"removed"}, named);
}

Table prune_sweep_table(const SweepStudy& study) {
  using Row = const SweepItem*;
  const auto outcome = [](Row r) -> const CacheOutcome& { return r->outcome; };
  std::vector<Field<Row>> fields{{word("removed"), [](Row r) { return Cell(r->outcome.method); }}};
  add_loss(fields, outcome);
  fields.push_back({whole("layer"), [](Row r) { return integer(r->layer); }});
  if (study.kind == SweepKind::heads)
    fields.push_back({whole("head"), [](Row r) { return integer(r->head); }});
  if (study.kind == SweepKind::channels) {
    fields.push_back({word("side"), [](Row r) { return Cell(std::string(side_name(r->half))); }});
    fields.push_back({whole("first_channel"), [](Row r) { return integer(r->first_channel); }});
    fields.push_back({whole("last_channel"), [](Row r) { return integer(r->last_channel); }});
  }
  for (size_t m = 0; m < study.metrics.size(); ++m)
    fields.push_back({number(study.metrics[m]), [m](Row r) { return real(r->metrics[m]); }});
  add_rest(fields, outcome);
  return make_table("prune_sweep", {"removed"}, fields, by_loss(study));
}

Table prune_metrics_table(const SweepStudy& study) {
  using Row = SweepCorrelation;
  const char* none = "fewer than 3 pairs, or all numbers are equal";
  const std::vector<Field<Row>> fields = {
      {word("metric"), [](const Row& r) { return Cell(r.metric); }},
      {word("side"), [](const Row& r) { return Cell(std::string(side_name(r.half))); }},
      {number("rho"), [none](const Row& r) { return real(r.loss.rho, none); }},
      {number("p_value"), [none](const Row& r) { return real(r.loss.p_value, none); }},
      {number("rho_kl"), [none](const Row& r) { return real(r.kl.rho, none); }},
      {number("p_value_kl"), [none](const Row& r) { return real(r.kl.p_value, none); }},
      {whole("pairs"), [](const Row& r) { return integer(r.loss.pairs); }}};
  std::vector<Row> rows = study.correlations;
  std::ranges::stable_sort(rows, std::greater<>(), [](const Row& r) {
    return std::isfinite(r.loss.rho) ? std::abs(r.loss.rho) : -1;
  });
  return make_table("prune_metrics", {"metric", "side"}, fields, rows);
}

}  // namespace kvviz::tables
