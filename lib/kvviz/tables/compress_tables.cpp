// SPDX-License-Identifier: MIT
#include "kvviz/tables/compress_tables.hpp"

#include <algorithm>

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_error = "fewer than two texts, or blocks of a single text";

}  // namespace

Table compress_table(const CompressionStudy& study) {
  using Row = CodecOutcome;
  const double full = study.full_ppl;
  const auto number = [](const char* name, const char* unit, double Row::*value,
                         const char* reason = "not measured") {
    return Field<Row>{{name, unit}, [value, reason](const Row& r) { return real(r.*value, reason); }};
  };
  const std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.method); }},
      {{"bytes_per_token", "bytes"}, [](const Row& r) { return real(r.bytes_per_token()); }},
      {{"ratio"}, [](const Row& r) { return real(r.ratio()); }},
      {{"delta_ppl_percent", "%"}, [full](const Row& r) { return real(100 * r.delta_ppl / full); }},
      {{"delta_ppl_percent_se", "%"},
       [full](const Row& r) { return real(100 * r.delta_ppl_se / full, no_error); }},
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
      number("delta_nll_se", "nats", &Row::delta_nll_se, no_error),
      number("ppl", "", &Row::ppl),
      number("delta_ppl", "", &Row::delta_ppl),
      number("delta_ppl_se", "", &Row::delta_ppl_se, no_error),
      number("kl_max", "nats", &Row::kl_max),
      number("payload_bytes", "bytes", &Row::payload_bytes),
      number("metadata_bytes", "bytes", &Row::metadata_bytes),
      number("f16_bytes", "bytes", &Row::f16_bytes),
      number("code_seconds", "s", &Row::code_seconds)};
  std::vector<Row> rows = study.outcomes;
  std::ranges::stable_sort(rows, std::greater<>(), [](const Row& r) { return r.bytes(); });
  return make_table("compress", {"method"}, fields, rows);
}

Table compress_layers_table(const CompressionStudy& study) {
  struct Row {
    const CodecOutcome* outcome;
    const CodecLayer* layer;
  };
  std::vector<Row> rows;
  for (const CodecOutcome& outcome : study.outcomes)
    for (const CodecLayer& layer : outcome.layers) rows.push_back({&outcome, &layer});
  const std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.outcome->method); }},
      {whole("layer"), [](const Row& r) { return integer(r.layer->layer); }},
      {{"key_error"}, [](const Row& r) { return real(r.layer->key_error); }},
      {{"value_error"}, [](const Row& r) { return real(r.layer->value_error); }},
      {{"output_error"}, [](const Row& r) { return real(r.layer->output_error); }},
      {{"bytes", "bytes"}, [](const Row& r) { return real(r.layer->bytes); }}};
  return make_table("compress_layers", {"method", "layer"}, fields, rows);
}

Table compress_heads_table(const CompressionStudy& study) {
  struct Row {
    const CodecOutcome* outcome;
    const CodecLayer* layer;
    size_t head;
  };
  std::vector<Row> rows;
  for (const CodecOutcome& outcome : study.outcomes)
    for (const CodecLayer& layer : outcome.layers)
      for (size_t head = 0; head < layer.head_output_error.size(); ++head)
        rows.push_back({&outcome, &layer, head});
  const std::vector<Field<Row>> fields = {
      {word("method"), [](const Row& r) { return Cell(r.outcome->method); }},
      {whole("layer"), [](const Row& r) { return integer(r.layer->layer); }},
      {whole("head"), [](const Row& r) { return integer(static_cast<int64_t>(r.head)); }},
      {{"output_error"}, [](const Row& r) { return real(r.layer->head_output_error[r.head]); }}};
  return make_table("compress_heads", {"method", "layer", "head"}, fields, rows);
}

}  // namespace kvviz::tables
