// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/layer_choice.hpp"

namespace kvviz::analysis {

/// Codes of the KV cache, method by method, over all texts. Filled by `kvviz compress`; tables and figures
/// read it.
struct CompressionStudy {
  int layers = 0, query_heads = 0, kv_heads = 0;
  int64_t texts = 0, tokens = 0;  ///< tokens: of all texts
  std::string sides;              ///< "keys and values", "keys", "values"
  std::string key_basis;          ///< "after RoPE", "before RoPE"
  std::string when;               ///< "after the prefix", "as it is written"; empty: a cache file
  double full_ppl = kNone, full_nll = kNone;
  double coded_share = kNone;  ///< of the keys that a prediction sees, those that were coded; mean
  std::vector<CacheOutcome> outcomes;
  std::vector<TextOutcome> by_text;              ///< of each text all outcomes; empty: a cache file
  std::optional<Recommendation> recommendation;  ///< absent: not asked for, or nothing is within the limit
};

/// The outcome with the fewest bytes whose change_percent() is below `percent`; null: none.
const CacheOutcome* smallest_within(const CompressionStudy& study, double percent);

/// Sets on_frontier: pareto_set() of bytes and change_percent().
void mark_frontier(std::vector<CacheOutcome>& outcomes);

}  // namespace kvviz::analysis
