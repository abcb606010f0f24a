// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/legacy.hpp"
#include "kvviz/analysis/loss_percent.hpp"

namespace kvviz::analysis {

// What eviction policies did to a model, policy by policy and budget by budget, over all texts. Filled by
// `kvviz simulate`; tables and figures read it.

/// One query head under one policy at one budget; means over the texts (each a mean over its scored steps).
struct HeadOutcome {
  int layer = 0, head = 0;
  double recall = kNone;           ///< full-cache attention weight on the keys attended to; 1 is best
  double bound = kNone;            ///< the most that any set of as many keys has
  double output_error = kNone;     ///< |output - full output| / |full output|; 0 is best
  double demand_hit_rate = kNone;  ///< share of the demanded (step, key) pairs whose key was held; 1 is best
};

/// One set of keys (a KV head's, or a query head's own) under one policy at one budget; means over the texts.
struct SetOutcome {
  int layer = 0, kv_head = 0, first_query_head = 0;
  double budget = 0, evictions = 0, peak = 0, final_entries = 0;
  double sink_recall = kNone;   ///< share of the full cache's sink keys that are held at the end
  double heavy_recall = kNone;  ///< the same of its heavy hitters
};

struct PolicyOutcome {
  std::string policy, summary;
  std::string budget;          ///< as it was asked for: "256", "0.25"
  double budget_tokens = 0;    ///< mean over the texts; of each set, before pyramids
  double budget_fraction = 0;  ///< of the tokens
  bool clairvoyant = false;    ///< reads the future: a yardstick, not a policy to ship

  int64_t texts = 0, predictions = 0;                           ///< that count
  double nll = kNone, delta_nll = kNone, delta_nll_se = kNone;  ///< nats per token
  double ppl = kNone, delta_ppl = kNone, delta_ppl_se = kNone;
  double delta_nll_all = kNone;  ///< over all predictions, those before any eviction included
  double kl = kNone, kl_max = kNone, top1_agreement = kNone;

  double recall = kNone, bound = kNone, output_error = kNone, demand_hit_rate = kNone;  ///< over all heads
  double sink_recall = kNone, heavy_recall = kNone;  ///< over all sets that have such keys

  // What a cache simulator counts, summed over all sets of all layers and all texts.
  int64_t processed = 0;          ///< tokens of the texts
  int64_t demands = 0, hits = 0;  ///< demanded (step, key) pairs of all query heads; those whose key was held
  int64_t retained_sinks = 0;     ///< sink keys of the full cache held at the end
  int64_t retained_heavy = 0;     ///< its heavy hitters held at the end

  // Means over the texts of
  double evictions = 0;       ///< in all sets of all layers
  double peak_entries = 0;    ///< per set: most keys attended to at one step, mean over sets
  double final_entries = 0;   ///< per set, at the end
  double logical_bytes = 0;   ///< keys and values of the entries held at the end, all sets
  double metadata_bytes = 0;  ///< positions and scores that the policy keeps beside them
  double resident_bytes = 0;  ///< most that has to stand in memory at once: payload and metadata
  double full_bytes = 0;      ///< the full cache at the end: of a layer min(tokens, sliding window) entries
  double scan_seconds = 0;    ///< all texts together; kNone: left out

  std::vector<HeadOutcome> heads;  ///< [layers x query heads]
  std::vector<SetOutcome> sets;    ///< layer by layer
  bool on_frontier = false;        ///< no policy that can be shipped does as well with fewer bytes, or better

  /// Increase of the perplexity, % of the full cache's, and its standard error.
  double delta_ppl_percent() const { return ppl_percent(ppl, delta_ppl); }
  double delta_ppl_percent_se() const { return ppl_percent_error(ppl, delta_ppl, delta_nll_se); }
  double change_percent() const { return ppl_change_percent(ppl, delta_ppl, delta_nll_se); }
};

/// One text under one policy at one budget: what PolicyOutcome says of all of them.
struct PolicyTextOutcome {
  int64_t text = 0;  ///< of the run
  std::string name;
  int64_t tokens = 0;
  std::string policy, budget;
  int64_t predictions = 0;  ///< that count
  double nll = kNone, delta_nll = kNone;
  double delta_nll_se = kNone;  ///< over blocks of 32 predictions
  double delta_ppl_percent = kNone, kl = kNone, top1_agreement = kNone, recall = kNone;
  double evictions = 0, resident_bytes = 0;
};

/// Who was held when: one set of keys of one policy on the first text.
struct RetentionMap {
  std::string policy, budget;
  int layer = 0, kv_head = 0;
  int64_t tokens = 0;
  std::vector<int64_t> last_step;  ///< [tokens] the last step at which the key was attended to
  std::vector<int64_t> sinks;      ///< the full cache's sink keys in this set
  std::vector<int64_t> heavy;      ///< its heavy hitters, sinks left out
};

/// How long the tokens of the first text lived under one policy, over all layers and sets.
struct TokenSurvival {
  std::string policy, budget;
  std::vector<double> held;  ///< [tokens] share of the sets that hold the token at the end
};

struct SimulationStudy {
  int layers = 0, query_heads = 0, kv_heads = 0;
  int64_t texts = 0, tokens = 0;                 ///< tokens: of all texts
  int64_t score_from = 0;                        ///< first prediction that counts
  std::string positions, prefill;                ///< "original" | "cache"; "stepwise" | "full, 256 tokens"
  double full_ppl = kNone, full_nll = kNone;     ///< over the predictions that count
  std::vector<PolicyOutcome> outcomes;           ///< policy by policy, budgets rising
  std::vector<PolicyTextOutcome> text_outcomes;  ///< text by text, each in that order
  std::vector<RetentionMap> retention;
  std::vector<TokenSurvival> survival;
  std::vector<std::string> first_text;  ///< its tokens as text
};

/// Sets on_frontier: outcomes that are not clairvoyant and do not evict in vain (resident bytes as many as
/// the full cache's), in the order of resident bytes, each with a lower delta_nll than all before it. Of
/// those with equal bytes and losses the first.
void mark_frontier(std::vector<PolicyOutcome>& outcomes);

/// Names of the policies, each once: those that can be shipped from the least mean loss (delta_nll over their
/// budgets) to the greatest, then the clairvoyant ones likewise. Without a loss: last of their kind.
std::vector<std::string> policies_by_loss(std::span<const PolicyOutcome> outcomes);

/// Whether what the policy evicts stays in memory, hidden by a mask: it saves nothing.
bool keeps_memory(const PolicyOutcome& outcome);

/// Of the outcomes at a budget that can be shipped and save memory, the one with the least change_percent();
/// null: none.
const PolicyOutcome* best_at(std::span<const PolicyOutcome> outcomes, const std::string& budget);

/// The smallest budget of a policy, in tokens, whose loss stays within a limit.
struct TargetBudget {
  std::string policy;
  std::string limit;             ///< "delta_ppl<1%"
  double budget_tokens = kNone;  ///< kNone: no budget does
  double value = kNone;          ///< the measure at that budget
  double next_value = kNone;     ///< and with one key fewer
};

/// The needle in one set of keys.
struct NeedleSet {
  int layer = 0, kv_head = 0, first_query_head = 0;
  double survival = 0;  ///< share of the needle's keys held when the answer begins
};

/// One cell of the needle grid: a text of `length` tokens with a sentence hidden at `depth` of it.
struct NeedleCell {
  std::string policy, budget;
  double depth = 0;             ///< 0: at the beginning; 1: just before the question
  int64_t length = 0;           ///< tokens
  double log_p = kNone;         ///< ln p(answer | text, question) per answer token, nats
  double log_p_full = kNone;    ///< with the full cache
  double log_p_absent = kNone;  ///< with the full cache and no needle in the text
  double survival = kNone;      ///< share of the needle's keys held when the answer begins, over all sets
  std::vector<NeedleSet> sets;  ///< layer by layer
};

}  // namespace kvviz::analysis
