// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/generation.hpp"

namespace kvviz::analysis {

/// Where one query's attention goes; sums to 1.
struct AttentionShares {
  double first = 0;      ///< the first token of the text
  double prompt = 0;     ///< the rest of the prompt
  double generated = 0;  ///< generated tokens but the newest
  double self = 0;       ///< the newest: the query's own
};
AttentionShares& operator+=(AttentionShares& a, const AttentionShares& b);
AttentionShares operator*(double factor, AttentionShares shares);

/// Of the weights [keys] of a single query, the last key its own; keys > prompt >= 1.
AttentionShares attention_shares(std::span<const double> weights, int64_t prompt);

/// Of a query that attends to all keys it sees alike: attention that prefers nothing. window 0: all.
AttentionShares uniform_shares(int64_t keys, int64_t prompt, int64_t window);

/// A generated token as it came.
struct GenerationStep {
  int32_t id = 0;
  std::string text;
  double probability = kNone;  ///< under the model, without temperature or cuts
  int64_t bytes = 0;           ///< of the cache that holds it, f16_bytes()
  double seconds = kNone;      ///< wall clock of choosing it and running it through the model
  std::vector<std::vector<AttentionShares>> attention;  ///< [layer][query head] of its query
  AttentionShares uniform;                              ///< mean over layers
};

/// Mean over layers and heads of a step, over the steps of a layer, over the steps of a head.
AttentionShares mean_shares(const GenerationStep& step);
AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer);
AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer, size_t head);

/// Where two texts part.
struct Divergence {
  int64_t step = 0;                    ///< generated tokens before it, equal in both
  std::string full, evicted;           ///< the two tokens; empty: the text ended there
  double full_probability = kNone;     ///< of the full cache's token, with the full cache ...
  double evicted_probability = kNone;  ///< ... and under eviction. kNone: the full text ended there
};

/// What a cache holds after so many tokens.
struct HeldCache {
  double entries = 0;      ///< keys that are attended to, mean over slot sets
  int64_t bytes = 0;       ///< keys and values that have to stay in memory, f16
  int64_t metadata = 0;    ///< what the policy remembers beside them (policy::layer_metadata)
  int64_t full_bytes = 0;  ///< a full cache of as many tokens, f16_bytes()
  int64_t total() const { return bytes + metadata; }
};

/// The same prompt continued under eviction.
struct EvictedText {
  std::string policy, budget, text;
  std::vector<std::string> pieces;  ///< its tokens
  int64_t equal = 0;                ///< leading tokens that are those of the full cache
  std::optional<Divergence> divergence;
  bool stopped = false;         ///< by the end-of-text token
  std::vector<HeldCache> held;  ///< after the prompt, then after each token
  double seconds = kNone;       ///< median of a step
};

struct GenerationStudy {
  GenerationResult cache;
  std::string text;  ///< generated
  bool stopped = false;
  double prefill_seconds = kNone;
  std::vector<GenerationStep> steps;
  std::vector<EvictedText> evicted;
  double step_seconds() const;  ///< median of a step; kNone without timings
};

/// The text of the full cache as one of these, to stand beside them.
EvictedText full_text(const GenerationStudy& study);

}  // namespace kvviz::analysis
