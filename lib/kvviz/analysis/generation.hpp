// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

// A cache while text is generated. It only grows, so the first P + i tokens of the last cache are the cache
// after i generated tokens, exactly.

/// A moment: after `generated` tokens.
struct StagePoint {
  std::string name;
  int64_t generated = 0;
};

/// prefill (0), early (a fifth, at least 1), mid (half) and late (all) of `generated` tokens; a moment that
/// is not later than the one before it is left out.
std::vector<StagePoint> stage_points(int64_t generated);

/// The elements of some tokens, K or V. Means over layers; Hoyer of each KV head first.
struct PartStats {
  double rms = kNone;              ///< root of the mean over layers of the mean square
  double hoyer = kNone;            ///< stats::hoyer: 0 dense, 1 sparse; independent of scale
  double legacy_sparsity = kNone;  ///< share of |x| < tau, tau from the whole cache
};

/// How far tokens are from those of the prompt, a KV head at a time, mean over heads and layers. With the
/// mean mu and the spread s^2 = mean |x - mu|^2 of the prompt's tokens but the first (an attention sink is
/// unlike all others), and G the tokens in question: drift = |mean_G x - mu| / s, distance = sqrt(mean_G
/// |x - mu|^2) / s. kNone without tokens in G, with fewer than 3 in the prompt, or where no head has spread.
struct Drift {
  double drift = kNone;     ///< of the mean; see GenerationStage::chance
  double distance = kNone;  ///< 1: as far from the mean as the prompt's own tokens
};

struct StageHalf {
  PartStats all, prompt, generated;
  Drift drift;  ///< of the generated tokens
};

/// The cache at one moment.
struct GenerationStage {
  std::string name;
  int64_t tokens = 0, generated = 0;
  int64_t bytes = 0;  ///< as held, all layers
  StageHalf key, value;
  /// Drift of as many tokens drawn independently from the prompt, about: sqrt(1/n + 1/(P - 1)). Neighbouring
  /// tokens are alike, so that text lies above it even where nothing has changed.
  double chance = kNone;
};

/// One generated token, mean over KV heads and layers.
struct GeneratedToken {
  double k_distance = kNone, v_distance = kNone;  ///< Drift::distance of this token alone
  double k_norm = kNone, v_norm = kNone;  ///< L2 norm / mean norm of the prompt's tokens but the first
};

/// All generated tokens in one layer.
struct GenerationLayer {
  int layer = 0;
  Drift key, value;
};

struct GenerationCaches {
  KvView cache;  ///< prompt and generated tokens; every layer holds all of them
  /// Keys of each layer before RoPE, [kv_heads, tokens, head_dim], for their drift: rotation moves keys with
  /// their position whatever the text says. Empty: the cache's own.
  std::span<const at::Tensor> keys_before_rope = {};
  int64_t prompt = 0;  ///< tokens
};

struct GenerationResult {
  int64_t prompt = 0;
  std::vector<GenerationStage> stages;
  std::vector<GenerationLayer> layers;
  std::vector<GeneratedToken> tokens;  ///< by step
  LegacyThresholds thresholds;         ///< one for all stages, or they could not be compared
};

/// Stages, drift and generated tokens. fp64 sums, one layer widened at a time; a pass over the cache for each
/// stage. Throws DataError on NaN or infinity, and when a layer does not hold all tokens or the prompt is not
/// 1 .. tokens long.
GenerationResult generation(const GenerationCaches& caches, const LegacyOptions& legacy);

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
  int64_t bytes = 0;           ///< of the cache that holds it
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

/// The same prompt continued under eviction.
struct EvictedText {
  std::string policy, budget, text;
  std::vector<std::string> pieces;  ///< its tokens
  int64_t equal = 0;                ///< leading tokens that are those of the full cache
  std::optional<Divergence> divergence;
  bool stopped = false;    ///< by the end-of-text token
  double entries = 0;      ///< keys held at the end, mean over slot sets
  double bytes = 0;        ///< of keys and values held at the end
  double metadata = 0;     ///< bytes that the policy remembers beside them
  double seconds = kNone;  ///< median of a step
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

/// Median of the finite values; kNone when there is none.
double median(std::vector<double> values);

}  // namespace kvviz::analysis
