// SPDX-License-Identifier: MIT
#include "kvviz/tables/simulate_tables.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* full_name = "full";
constexpr const char* no_text = "no prediction counts";
constexpr const char* one_cluster = "fewer than two texts, or blocks of a single text";
constexpr const char* not_measured = "not measured";
constexpr const char* no_demand = "no key is demanded";
constexpr const char* no_sinks = "no set has a sink key";
constexpr const char* no_heavy = "no set has a heavy hitter";

/// A number of a row and why there may be none.
template <class Row>
struct Number {
  const char* name;
  const char* unit;
  double Row::*value;
  const char* reason = not_measured;
};

template <class Row>
void add_numbers(std::vector<Field<Row>>& fields, std::span<const Number<Row>> numbers) {
  for (const Number<Row>& number : numbers)
    fields.push_back({{number.name, number.unit},
                      [number](const Row& r) { return real(r.*number.value, number.reason); }});
}

/// A part of an outcome, with the outcome it belongs to.
template <class Part>
struct PartRow {
  const PolicyOutcome* outcome;
  const Part* part;
};

template <class Part>
std::vector<PartRow<Part>> parts_of(const SimulationStudy& study, std::vector<Part> PolicyOutcome::*parts) {
  std::vector<PartRow<Part>> rows;
  for (const PolicyOutcome& outcome : study.outcomes)
    for (const Part& part : outcome.*parts) rows.push_back({&outcome, &part});
  return rows;
}

template <class Part>
std::vector<Field<PartRow<Part>>> outcome_key() {
  using Row = PartRow<Part>;
  return {{word("policy"), [](const Row& r) { return Cell(r.outcome->policy); }},
          {word("budget"), [](const Row& r) { return Cell(r.outcome->budget); }},
          {whole("layer"), [](const Row& r) { return integer(r.part->layer); }}};
}

template <class Part>
void add_part_numbers(std::vector<Field<PartRow<Part>>>& fields, std::span<const Number<Part>> numbers) {
  for (const Number<Part>& number : numbers)
    fields.push_back({{number.name, number.unit}, [number](const PartRow<Part>& r) {
                        return real(r.part->*number.value, number.reason);
                      }});
}

/// Where a policy is the best, or why it is no candidate.
std::string remark(const SimulationStudy& study, const std::string& policy) {
  std::string best;
  for (const PolicyOutcome& o : study.outcomes) {
    if (o.policy != policy) continue;
    if (o.clairvoyant) return "reads the future";
    if (keeps_memory(o)) return "saves no memory";
    if (best_at(study.outcomes, o.budget) == &o) best += (best.empty() ? "best at " : ", ") + o.budget;
  }
  return best;
}

template <class Row, class Get>
std::vector<Field<Row>> needle_key(Get cell) {
  return {{word("policy"), [cell](const Row& r) { return Cell(cell(r).policy); }},
          {word("budget"), [cell](const Row& r) { return Cell(cell(r).budget); }},
          {whole("length", "tokens"), [cell](const Row& r) { return integer(cell(r).length); }},
          {{"depth"}, [cell](const Row& r) { return real(cell(r).depth); }}};
}

}  // namespace

std::string budget_name(std::string budget) {
  std::ranges::replace(budget, '.', '_');
  return budget;
}

Table simulate_table(const SimulationStudy& study) {
  using Row = PolicyOutcome;
  std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.policy); }},
      {word("budget"), [](const Row& r) { return Cell(r.budget); }},
      {{"budget_tokens", "keys"}, [](const Row& r) { return real(r.budget_tokens); }},
      {{"budget_fraction"}, [](const Row& r) { return real(r.budget_fraction); }},
      {whole("clairvoyant"), [](const Row& r) { return integer(r.clairvoyant ? 1 : 0); }},
      {whole("on_frontier"), [](const Row& r) { return integer(r.on_frontier ? 1 : 0); }},
      {whole("texts"), [](const Row& r) { return integer(r.texts); }},
      {whole("predictions"), [](const Row& r) { return integer(r.predictions); }}};
  // One cluster of predictions gives no standard error; no prediction, no mean either.
  const auto error_of = [](double Row::*value) {
    return [value](const Row& r) { return real(r.*value, r.predictions > 0 ? one_cluster : no_text); };
  };
  const Number<Row> losses[] = {{"nll", "nats", &Row::nll, no_text},
                                {"delta_nll", "nats", &Row::delta_nll, no_text}};
  add_numbers<Row>(fields, losses);
  fields.push_back({{"delta_nll_se", "nats"}, error_of(&Row::delta_nll_se)});
  const Number<Row> perplexities[] = {{"ppl", "", &Row::ppl, no_text},
                                      {"delta_ppl", "", &Row::delta_ppl, no_text}};
  add_numbers<Row>(fields, perplexities);
  fields.push_back({{"delta_ppl_se"}, error_of(&Row::delta_ppl_se)});
  fields.push_back(
      {{"delta_ppl_percent", "%"}, [](const Row& r) { return real(r.delta_ppl_percent(), no_text); }});
  fields.push_back({{"delta_ppl_percent_se", "%"}, [](const Row& r) {
                      return real(r.delta_ppl_percent_se(), r.predictions > 0 ? one_cluster : no_text);
                    }});
  const Number<Row> quality[] = {{"delta_nll_all", "nats", &Row::delta_nll_all, "no prediction"},
                                 {"kl", "nats", &Row::kl, no_text},
                                 {"kl_max", "nats", &Row::kl_max, no_text},
                                 {"top1_agreement", "", &Row::top1_agreement, no_text},
                                 {"recall", "", &Row::recall},
                                 {"bound", "", &Row::bound},
                                 {"output_error", "", &Row::output_error},
                                 {"demand_hit_rate", "", &Row::demand_hit_rate, no_demand},
                                 {"sink_recall", "", &Row::sink_recall, no_sinks},
                                 {"heavy_recall", "", &Row::heavy_recall, no_heavy}};
  add_numbers<Row>(fields, quality);
  const Number<Row> sizes[] = {{"evictions", "keys", &Row::evictions},
                               {"peak_entries", "keys", &Row::peak_entries},
                               {"final_entries", "keys", &Row::final_entries},
                               {"logical_bytes", "bytes", &Row::logical_bytes},
                               {"metadata_bytes", "bytes", &Row::metadata_bytes},
                               {"resident_bytes", "bytes", &Row::resident_bytes},
                               {"full_bytes", "bytes", &Row::full_bytes},
                               {"scan_seconds", "s", &Row::scan_seconds}};
  add_numbers<Row>(fields, sizes);
  return make_table("simulate", {"policy", "budget"}, fields, study.outcomes);
}

Table simulate_by_budget_table(const SimulationStudy& study) {
  std::vector<std::pair<double, std::string>> budgets;
  for (const PolicyOutcome& o : study.outcomes)
    if (o.policy != full_name &&
        std::ranges::find(budgets, o.budget, &std::pair<double, std::string>::second) == budgets.end())
      budgets.emplace_back(o.budget_tokens, o.budget);
  std::ranges::stable_sort(budgets, {}, &std::pair<double, std::string>::first);
  struct Row {
    const SimulationStudy* study;
    std::string policy;
    const PolicyOutcome* at(const std::string& budget) const {
      const auto found = std::ranges::find_if(
          study->outcomes, [&](const PolicyOutcome& o) { return o.policy == policy && o.budget == budget; });
      return found == study->outcomes.end() ? nullptr : &*found;
    }
  };
  std::vector<Row> rows;
  for (const std::string& policy : policies_by_loss(study.outcomes))
    if (policy != full_name) rows.push_back({&study, policy});
  std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.policy); }},
      {word("remark"), [&](const Row& r) { return Cell(remark(study, r.policy)); }}};
  const auto add = [&](const std::string& name, const char* unit, const char* reason, auto value) {
    for (const auto& [tokens, budget] : budgets)
      fields.push_back({{name + "_" + budget_name(budget), unit}, [=, budget = budget](const Row& r) {
                          const PolicyOutcome* outcome = r.at(budget);
                          if (outcome == nullptr) return Cell(Null{"not simulated"});
                          return real(value(*outcome), reason);
                        }});
  };
  add("delta_ppl", "%", no_text, [](const PolicyOutcome& o) { return o.delta_ppl_percent(); });
  add("se", "%", one_cluster, [](const PolicyOutcome& o) { return o.delta_ppl_percent_se(); });
  add("recall", "", not_measured, [](const PolicyOutcome& o) { return o.recall; });
  return make_table("simulate_by_budget", {"policy"}, fields, rows);
}

Table simulate_counters_table(const SimulationStudy& study) {
  using Row = PolicyOutcome;
  const std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.policy); }},
      {word("budget"), [](const Row& r) { return Cell(r.budget); }},
      {whole("processed", "tokens"), [](const Row& r) { return integer(r.processed); }},
      {whole("demands"), [](const Row& r) { return integer(r.demands); }},
      {whole("hits"), [](const Row& r) { return integer(r.hits); }},
      {whole("misses"), [](const Row& r) { return integer(r.demands - r.hits); }},
      {{"hit_rate"}, [](const Row& r) { return real(r.demand_hit_rate, no_demand); }},
      {{"evictions", "keys"}, [](const Row& r) { return real(r.evictions * static_cast<double>(r.texts)); }},
      {whole("retained_sinks", "keys"), [](const Row& r) { return integer(r.retained_sinks); }},
      {whole("retained_heavy", "keys"), [](const Row& r) { return integer(r.retained_heavy); }}};
  return make_table("simulate_counters", {"policy", "budget"}, fields, study.outcomes);
}

Table simulate_heads_table(const SimulationStudy& study) {
  using Row = PartRow<HeadOutcome>;
  auto fields = outcome_key<HeadOutcome>();
  fields.push_back({whole("head"), [](const Row& r) { return integer(r.part->head); }});
  const Number<HeadOutcome> numbers[] = {{"recall", "", &HeadOutcome::recall},
                                         {"bound", "", &HeadOutcome::bound},
                                         {"output_error", "", &HeadOutcome::output_error},
                                         {"demand_hit_rate", "", &HeadOutcome::demand_hit_rate, no_demand}};
  add_part_numbers<HeadOutcome>(fields, numbers);
  return make_table("simulate_heads", {"policy", "budget", "layer", "head"}, fields,
                    parts_of(study, &PolicyOutcome::heads));
}

Table simulate_sets_table(const SimulationStudy& study) {
  using Row = PartRow<SetOutcome>;
  auto fields = outcome_key<SetOutcome>();
  fields.push_back({whole("kv_head"), [](const Row& r) { return integer(r.part->kv_head); }});
  fields.push_back({whole("first_head"), [](const Row& r) { return integer(r.part->first_query_head); }});
  const Number<SetOutcome> numbers[] = {
      {"budget_keys", "keys", &SetOutcome::budget},
      {"evictions", "keys", &SetOutcome::evictions},
      {"peak", "keys", &SetOutcome::peak},
      {"final_entries", "keys", &SetOutcome::final_entries},
      {"sink_recall", "", &SetOutcome::sink_recall, "the set has no sink key"},
      {"heavy_recall", "", &SetOutcome::heavy_recall, "the set has no heavy hitter"}};
  add_part_numbers<SetOutcome>(fields, numbers);
  return make_table("simulate_sets", {"policy", "budget", "layer", "kv_head", "first_head"}, fields,
                    parts_of(study, &PolicyOutcome::sets));
}

Table targets_table(std::span<const TargetBudget> targets) {
  using Row = TargetBudget;
  constexpr const char* none = "no budget stays within the limit";
  std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.policy); }},
      {word("limit"), [](const Row& r) { return Cell(r.limit); }},
      {{"budget_tokens", "keys"}, [](const Row& r) { return real(r.budget_tokens, none); }},
      {{"value"}, [](const Row& r) { return real(r.value, none); }},
      {{"next_value"}, [](const Row& r) {
         return real(r.next_value, std::isnan(r.budget_tokens) ? none : "the smallest budget there is");
       }}};
  return make_table("targets", {"policy", "limit"}, fields, targets);
}

Table needle_table(std::span<const NeedleCell> cells) {
  using Row = NeedleCell;
  auto fields = needle_key<Row>([](const Row& r) -> const NeedleCell& { return r; });
  const Number<Row> numbers[] = {{"log_p", "nats", &Row::log_p},
                                 {"log_p_full", "nats", &Row::log_p_full},
                                 {"log_p_absent", "nats", &Row::log_p_absent},
                                 {"survival", "", &Row::survival}};
  add_numbers<Row>(fields, numbers);
  return make_table("needle", {"policy", "budget", "length", "depth"}, fields, cells);
}

Table needle_sets_table(std::span<const NeedleCell> cells) {
  struct Row {
    const NeedleCell* cell;
    const NeedleSet* set;
  };
  std::vector<Row> rows;
  for (const NeedleCell& cell : cells)
    for (const NeedleSet& set : cell.sets) rows.push_back({&cell, &set});
  auto fields = needle_key<Row>([](const Row& r) -> const NeedleCell& { return *r.cell; });
  fields.push_back({whole("layer"), [](const Row& r) { return integer(r.set->layer); }});
  fields.push_back({whole("kv_head"), [](const Row& r) { return integer(r.set->kv_head); }});
  fields.push_back({whole("first_head"), [](const Row& r) { return integer(r.set->first_query_head); }});
  fields.push_back({{"survival"}, [](const Row& r) { return real(r.set->survival); }});
  return make_table("needle_sets", {"policy", "budget", "length", "depth", "layer", "kv_head", "first_head"},
                    fields, rows);
}

}  // namespace kvviz::tables
