// SPDX-License-Identifier: MIT
#include "kvviz/tables/compress_tables.hpp"

#include <algorithm>

#include "kvviz/tables/cache_outcome_tables.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_error = "fewer than two texts, or blocks of a single text";
constexpr const char* no_model = "a cache file has no model to predict with";

const std::vector<Field<KiviErrors>>& kivi_fields() {
  using Row = KiviErrors;
  static const std::vector<Field<Row>> fields = {
      {word("side"), [](const Row& r) { return Cell(r.side); }},
      {word("axis"), [](const Row& r) { return Cell(r.axis); }},
      {{"relative_error", "%"}, [](const Row& r) { return real(r.error); }},
      {{"attention_weight_error", "%"}, [](const Row& r) { return real(r.weight_error); }},
      {{"attention_output_error", "%"}, [](const Row& r) { return real(r.output_error); }}};
  return fields;
}

}  // namespace

Table compress_table(const CompressionStudy& study) {
  using Row = CacheOutcome;
  const char* const reason_none = study.when.empty() ? no_model : "not measured";
  const char* const reason_se = study.when.empty() ? no_model : no_error;
  const auto number = [reason_none](const char* name, const char* unit, double Row::*value,
                                    const char* instead = nullptr) {
    const char* const reason = instead != nullptr ? instead : reason_none;
    return Field<Row>{{name, unit}, [value, reason](const Row& r) { return real(r.*value, reason); }};
  };
  std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.method); }},
      {{"bytes_per_token"}, [](const Row& r) { return real(r.bytes_per_token()); }},
      {{"ratio"}, [](const Row& r) { return real(r.ratio()); }},
      {{"delta_ppl_percent", "%"}, [=](const Row& r) { return real(r.delta_ppl_percent(), reason_none); }},
      {{"delta_ppl_percent_se", "%"},
       [=](const Row& r) { return real(r.delta_ppl_percent_se(), reason_se); }},
      {whole("on_frontier"), [](const Row& r) { return integer(r.on_frontier ? 1 : 0); }},
      number("kl", "nats", &Row::kl),
      number("top1_agreement", "", &Row::top1_agreement),
      number("key_error", "", &Row::key_error),
      number("value_error", "", &Row::value_error),
      number("output_error", "", &Row::output_error),
      {word("family"), [](const Row& r) { return Cell(r.family); }},
      {whole("texts"), [](const Row& r) { return integer(r.texts); }},
      {whole("predictions"), [](const Row& r) { return integer(r.predictions); }},
      number("nll", "nats", &Row::nll),
      number("delta_nll", "nats", &Row::delta_nll),
      number("delta_nll_se", "nats", &Row::delta_nll_se, reason_se),
      number("ppl", "", &Row::ppl),
      number("delta_ppl", "", &Row::delta_ppl),
      number("delta_ppl_se", "", &Row::delta_ppl_se, reason_se),
      number("kl_max", "nats", &Row::kl_max),
      number("payload_bytes", "bytes", &Row::payload_bytes),
      number("metadata_bytes", "bytes", &Row::metadata_bytes),
      {{"resident_bytes", "bytes"}, [](const Row& r) { return real(r.resident_bytes()); }},
      number("f16_bytes", "bytes", &Row::f16_bytes),
      number("code_seconds", "s", &Row::change_seconds, "left out by --no-timings")};
  if (study.when.empty()) {  // a console shows the first columns alone
    const auto first = std::ranges::find(fields, "key_error", [](const auto& f) { return f.column.name; });
    std::rotate(fields.begin() + 3, first, first + 2);
  }
  std::vector<Row> rows = study.outcomes;
  std::ranges::stable_sort(rows, std::greater<>(), [](const Row& r) { return r.bytes(); });
  return make_table("compress", {"method"}, fields, rows);
}

Table compress_layers_table(const CompressionStudy& study) {
  struct Row {
    const CacheOutcome* outcome;
    const CacheOutcomeLayer* layer;
  };
  std::vector<Row> rows;
  for (const CacheOutcome& outcome : study.outcomes)
    for (const CacheOutcomeLayer& layer : outcome.layers) rows.push_back({&outcome, &layer});
  const bool measured = !study.when.empty();
  const std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.outcome->method); }},
      {whole("layer"), [](const Row& r) { return integer(r.layer->layer); }},
      {{"key_error"}, [](const Row& r) { return real(r.layer->key_error); }},
      {{"value_error"}, [](const Row& r) { return real(r.layer->value_error); }},
      {{"output_error"},
       [measured](const Row& r) { return real(measured ? r.layer->output_error : kNone, no_model); }},
      {{"bytes", "bytes"}, [](const Row& r) { return real(r.layer->bytes); }}};
  return make_table("compress_layers", {"method", "layer"}, fields, rows);
}

Table compress_heads_table(const CompressionStudy& study) {
  std::vector<NamedOutcome> named;
  for (const CacheOutcome& outcome : study.outcomes) named.push_back({{outcome.method}, &outcome});
  return head_errors_table("compress_heads", {"method"}, named);
}

Table compress_texts_table(const CompressionStudy& study) {
  std::vector<NamedText> named;
  for (const TextOutcome& text : study.by_text)
    named.push_back({{study.outcomes[text.outcome].method}, &text});
  return text_outcomes_table("compress_texts", {"method"}, named);
}

Table compress_frontier_table(const CompressionStudy& study) {
  using Row = CacheOutcome;
  const std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.method); }},
      {number("bytes_per_token"), [](const Row& r) { return real(r.bytes_per_token()); }},
      {{"ratio"}, [](const Row& r) { return real(r.ratio()); }},
      {{"delta_ppl_percent", "%"}, [](const Row& r) { return real(r.delta_ppl_percent()); }},
      {{"delta_ppl_percent_se", "%"}, [](const Row& r) { return real(r.delta_ppl_percent_se(), no_error); }},
      {{"top1_agreement"}, [](const Row& r) { return real(r.top1_agreement); }}};
  std::vector<Row> rows;
  for (const CacheOutcome& outcome : study.outcomes)
    if (outcome.on_frontier) rows.push_back(outcome);
  std::ranges::stable_sort(rows, {}, [](const Row& r) { return r.bytes(); });
  return make_table("compress_frontier", {"method"}, fields, rows);
}

Table compress_recommendation_table(const Recommendation& recommendation) {
  using Row = RecommendedLayer;
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {word("method"), [](const Row& r) { return Cell(r.method); }},
      {{"bytes_per_token", "bytes"}, [](const Row& r) { return real(r.bytes_per_token); }},
      {{"delta_nll_alone", "nats"}, [](const Row& r) { return real(r.delta_nll); }}};
  return make_table("compress_recommendation", {"layer"}, fields, recommendation.layers);
}

Table kivi_table(const KiviStudy& study) {
  return make_table("kivi", {"side", "axis"}, kivi_fields(), study.means);
}

Table kivi_layers_table(const KiviStudy& study) {
  std::vector<Field<KiviErrors>> fields = kivi_fields();
  fields.insert(fields.begin() + 2, {whole("layer"), [](const KiviErrors& r) { return integer(r.layer); }});
  return make_table("kivi_layers", {"side", "axis", "layer"}, fields, study.layers);
}

}  // namespace kvviz::tables
