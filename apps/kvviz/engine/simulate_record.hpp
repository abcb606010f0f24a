// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/eval/compare.hpp"

namespace kvviz {

/// Numbers that are many: one string of bytes in a record.
template <class T>
struct Packed {
  std::vector<T> values;
};

/// One simulation on one text.
struct OutcomeRecord {
  std::string policy, budget;
  BlockScores scored;            ///< of the predictions that count
  double nll_full = 0, nll = 0;  ///< of all predictions, sums in nats
  double scan_seconds = 0;
  std::vector<double> recall, bound, error;  ///< [query heads of all layers]; empty: not measured
  std::vector<int64_t> demands, hits;
  std::vector<int64_t> budgets, evictions, peak, kept;  ///< [sets of keys]
  std::vector<int64_t> sinks_held, heavy_held;
  int64_t metadata = 0, peak_metadata = 0;  ///< bytes of all sets, with the keys of the end and of the peak
  Packed<int32_t> log;  ///< with --eviction-log: step and position of each eviction, set by set
};

struct QueryHead {
  int layer = 0, head = 0;
};

/// The keys of a KV head, or of a query head.
struct KeySet {
  int layer = 0, kv_head = 0, first_query_head = 0;
};

/// What a policy made of the text.
struct GeneratedText {
  std::string policy, budget, text;
  int64_t tokens = 0, equal = 0;  ///< equal: those before the first that is not the full cache's
};

/// What is shown of the first text alone.
struct FirstText {
  std::vector<analysis::RetentionMap> retention;
  std::vector<analysis::TokenSurvival> survival;
  std::vector<std::string> tokens;  ///< as text
  Packed<float> attention_mass;     ///< [sets x tokens] weight from later queries with the full cache
  Packed<int32_t> reads;            ///< [sets x tokens] later steps that demanded the key
  std::vector<analysis::NeedleCell> needle;
  std::vector<GeneratedText> generated;
};

/// A text under all simulations: all that the result needs of it.
struct SimulationRecord {
  int64_t tokens = 0, score_from = 0;
  std::string budget_table;  ///< its SHA-256; empty: none
  std::vector<QueryHead> heads;
  std::vector<KeySet> sets;
  std::vector<int64_t> sinks, heavy;  ///< [sets] such keys of the full cache
  std::vector<OutcomeRecord> outcomes;
  std::optional<FirstText> first;
};

void to_json(nlohmann::json& json, const SimulationRecord& record);
void from_json(const nlohmann::json& json, SimulationRecord& record);

}  // namespace kvviz
