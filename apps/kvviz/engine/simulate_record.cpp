// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_record.hpp"

#include <bit>
#include <cstring>

#include "kvviz/core/error.hpp"

namespace kvviz {

static_assert(std::endian::native == std::endian::little, "records are read where others have written them");

template <class T>
void to_json(nlohmann::json& json, const Packed<T>& packed) {
  std::vector<uint8_t> bytes(packed.values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), packed.values.data(), bytes.size());
  json = nlohmann::json::binary(std::move(bytes));
}

template <class T>
void from_json(const nlohmann::json& json, Packed<T>& packed) {
  const auto& bytes = json.get_binary();
  require(bytes.size() % sizeof(T) == 0, "a record holds ", bytes.size(), " bytes of numbers of ", sizeof(T));
  packed.values.resize(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(packed.values.data(), bytes.data(), bytes.size());
}

namespace analysis {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RetentionMap, policy, budget, layer, kv_head, tokens, last_step, sinks,
                                   heavy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TokenSurvival, policy, budget, held)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NeedleSet, layer, kv_head, first_query_head, survival)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NeedleCell, policy, budget, depth, length, log_p, log_p_full, log_p_absent,
                                   survival, sets)
}  // namespace analysis

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(QueryHead, layer, head)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(KeySet, layer, kv_head, first_query_head)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GeneratedText, policy, budget, text, tokens, equal)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(OutcomeRecord, policy, budget, scored, nll_full, nll, scan_seconds, recall,
                                   bound, error, demands, hits, budgets, evictions, peak, kept, sinks_held,
                                   heavy_held, metadata, peak_metadata, log)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FirstText, retention, survival, tokens, attention_mass, reads, needle,
                                   generated)

void to_json(nlohmann::json& json, const SimulationRecord& record) {
  json = {{"tokens", record.tokens},
          {"score_from", record.score_from},
          {"budget_table", record.budget_table},
          {"heads", record.heads},
          {"sets", record.sets},
          {"sinks", record.sinks},
          {"heavy", record.heavy},
          {"outcomes", record.outcomes}};
  if (record.first) json["first"] = *record.first;
}

void from_json(const nlohmann::json& json, SimulationRecord& record) {
  json.at("tokens").get_to(record.tokens);
  json.at("score_from").get_to(record.score_from);
  json.at("budget_table").get_to(record.budget_table);
  json.at("heads").get_to(record.heads);
  json.at("sets").get_to(record.sets);
  json.at("sinks").get_to(record.sinks);
  json.at("heavy").get_to(record.heavy);
  json.at("outcomes").get_to(record.outcomes);
  if (json.contains("first")) record.first = json.at("first").get<FirstText>();
}

}  // namespace kvviz
