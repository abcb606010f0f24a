// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_size.hpp"
#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

// A cache while text is generated. It only grows, so the first P + i tokens of the last cache are the cache
// after i generated tokens, exactly.

struct StageOptions {
  std::vector<double> fractions{0.2, 0.5, 1};  ///< of the generated tokens, rising
  bool operator==(const StageOptions&) const = default;
};

/// Throws UsageError: no fraction, one outside (0, 1], or not more than the one before it.
void validate(const StageOptions& options);

/// A moment: after `generated` tokens.
struct StagePoint {
  std::string name;
  int64_t generated = 0;
};

/// prefill (0), and each fraction of `generated` tokens, rounded down but to no less than 1. Those of the
/// default fractions are named early, mid and late, others as the number ("0.25"). A moment that is not later
/// than the one before it is left out. Throws as validate().
std::vector<StagePoint> stage_points(int64_t generated, const StageOptions& options);

/// The elements of some tokens, K or V. Sparsity is measured on each KV head, mean over heads and layers;
/// hoyer, gini and participation_ratio do not depend on scale.
struct PartStats {
  double rms = kNone;                  ///< root of the mean over layers of the mean square
  double hoyer = kNone;                ///< stats::hoyer: 0 dense, 1 sparse, about 0.20 for Gaussian elements
  double gini = kNone;                 ///< stats::gini: 0 dense, 1 sparse, 0.41
  double participation_ratio = kNone;  ///< stats::participation_ratio: 1 dense, 0 sparse, 1/3
  double legacy_sparsity = kNone;      ///< share of |x| < tau, tau from the whole cache
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
  int64_t bytes = 0;  ///< f16_bytes()
  StageHalf key, value;
  /// Drift of as many new tokens drawn independently as the prompt's, about: sqrt(1/n + 1/(P - 1)).
  /// Neighbouring tokens are alike, so that text lies above it even where nothing has changed.
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
  CacheShape shape;
  bool keys_before_rope = false;  ///< what the drift of keys was measured on
  std::vector<GenerationStage> stages;
  GenerationStage end;  ///< after all generated tokens, whether a stage was asked for there or not
  std::vector<GenerationLayer> layers;
  std::vector<GeneratedToken> tokens;  ///< by step
  LegacyThresholds thresholds;         ///< one for all stages, or they could not be compared
};

/// Stages, drift and generated tokens. fp64 sums, one layer widened at a time; for each stage a pass over the
/// cache and a sort of its elements, heads in parallel. Throws DataError on NaN or infinity, and when a layer
/// does not hold all tokens or the prompt is not 1 .. tokens long; as validate().
GenerationResult generation(const GenerationCaches& caches, const StageOptions& stages,
                            const LegacyOptions& legacy);

/// Keys and values of a sequence of `tokens` in f16; a layer with a window keeps min(tokens, window).
int64_t f16_bytes(const CacheShape& shape, int64_t tokens);

}  // namespace kvviz::analysis
