// SPDX-License-Identifier: MIT
#include "kvviz/tables/cache_outcome_tables.hpp"

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {

Table head_errors_table(const std::string& name, const std::vector<std::string>& columns,
                        std::span<const NamedOutcome> outcomes) {
  struct Row {
    const NamedOutcome* named;
    const analysis::CacheOutcomeLayer* layer;
    size_t head;
  };
  std::vector<Row> rows;
  for (const NamedOutcome& named : outcomes)
    for (const analysis::CacheOutcomeLayer& layer : named.outcome->layers)
      for (size_t head = 0; head < layer.head_output_error.size(); ++head)
        rows.push_back({&named, &layer, head});
  std::vector<Field<Row>> fields;
  for (size_t i = 0; i < columns.size(); ++i)
    fields.push_back({word(columns[i]), [i](const Row& r) { return Cell(r.named->names.at(i)); }});
  fields.push_back({whole("layer"), [](const Row& r) { return integer(r.layer->layer); }});
  fields.push_back({whole("head"), [](const Row& r) { return integer(static_cast<int64_t>(r.head)); }});
  fields.push_back(
      {number("output_error"), [](const Row& r) { return real(r.layer->head_output_error[r.head]); }});
  std::vector<std::string> key = columns;
  key.insert(key.end(), {"layer", "head"});
  return make_table(name, std::move(key), fields, rows);
}

Table text_outcomes_table(const std::string& name, const std::vector<std::string>& columns,
                          std::span<const NamedText> outcomes) {
  using Row = NamedText;
  std::vector<Field<Row>> fields{{whole("text"), [](const Row& r) { return integer(r.outcome->text); }}};
  for (size_t i = 0; i < columns.size(); ++i)
    fields.push_back({word(columns[i]), [i](const Row& r) { return Cell(r.names.at(i)); }});
  const auto add = [&](const char* column, const char* unit, double analysis::TextOutcome::*value,
                       const char* reason = "not measured") {
    fields.push_back({{column, unit}, [=](const Row& r) { return real(r.outcome->*value, reason); }});
  };
  fields.push_back({word("name"), [](const Row& r) { return Cell(r.outcome->name); }});
  fields.push_back({whole("tokens"), [](const Row& r) { return integer(r.outcome->tokens); }});
  fields.push_back({whole("predictions"), [](const Row& r) { return integer(r.outcome->predictions); }});
  add("nll", "nats", &analysis::TextOutcome::nll);
  add("delta_nll", "nats", &analysis::TextOutcome::delta_nll);
  add("delta_nll_se", "nats", &analysis::TextOutcome::delta_nll_se,
      "fewer than two blocks of 32 predictions");
  add("delta_ppl_percent", "%", &analysis::TextOutcome::delta_ppl_percent);
  add("kl", "nats", &analysis::TextOutcome::kl);
  add("top1_agreement", "", &analysis::TextOutcome::top1_agreement);
  add("bytes_per_token", "bytes", &analysis::TextOutcome::bytes_per_token);
  std::vector<std::string> key{"text"};
  key.insert(key.end(), columns.begin(), columns.end());
  return make_table(name, std::move(key), fields, outcomes);
}

}  // namespace kvviz::tables
