// SPDX-License-Identifier: MIT
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/simulate_tables.hpp"

namespace kvviz::tables {

Table simulate_texts_table(const analysis::SimulationStudy& study) {
  using Row = analysis::PolicyTextOutcome;
  std::vector<Field<Row>> fields{{whole("text"), [](const Row& r) { return integer(r.text); }},
                                 {word("policy"), [](const Row& r) { return Cell(r.policy); }},
                                 {word("budget"), [](const Row& r) { return Cell(r.budget); }},
                                 {word("name"), [](const Row& r) { return Cell(r.name); }},
                                 {whole("tokens", "tokens"), [](const Row& r) { return integer(r.tokens); }},
                                 {whole("predictions"), [](const Row& r) { return integer(r.predictions); }}};
  const auto add = [&](const char* name, const char* unit, double Row::*value, const char* reason) {
    fields.push_back({number(name, unit), [=](const Row& r) { return real(r.*value, reason); }});
  };
  constexpr const char* measured = "not measured";
  add("nll", "nats", &Row::nll, measured);
  add("delta_nll", "nats", &Row::delta_nll, measured);
  add("delta_nll_se", "nats", &Row::delta_nll_se, "fewer than two blocks of 32 predictions");
  add("delta_ppl_percent", "%", &Row::delta_ppl_percent, measured);
  add("kl", "nats", &Row::kl, measured);
  add("top1_agreement", "", &Row::top1_agreement, measured);
  add("recall", "", &Row::recall, measured);
  add("evictions", "keys", &Row::evictions, measured);
  add("resident_bytes", "bytes", &Row::resident_bytes, measured);
  return make_table("simulate_texts", {"text", "policy", "budget"}, fields, study.text_outcomes);
}

}  // namespace kvviz::tables
