// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace kvviz {

/// How the next token is chosen from logits. The steps come in this order: temperature, top-k, top-p.
struct SamplingOptions {
  double temperature = 0;  ///< logits are divided by it; 0: always the most likely token (first of equals)
  int64_t top_k = 0;       ///< only the k most likely tokens (0: all)
  double top_p = 1;        ///< of those, the fewest that hold this share of their probability (nucleus;
                           ///< Holtzman et al., ICLR 2020); the one that reaches it is among them
  uint64_t seed = 1;
};

/// Throws UsageError: temperature negative or not finite, top_k negative, top_p outside (0, 1], or top_k or
/// top_p where a temperature of 0 leaves nothing to draw.
void validate(const SamplingOptions& options);

struct TokenChance {
  int32_t token = 0;
  double probability = 0;
};

/// The tokens that may be drawn, most likely first (equals by id); probabilities sum to 1. A temperature of
/// 0: the most likely token alone. fp64; sorts the vocabulary, or top_k of it. Throws DataError when a logit
/// is NaN or +infinity, or when all are -infinity.
std::vector<TokenChance> candidates(std::span<const float> logits, const SamplingOptions& options);

/// Probability of a token under the logits themselves, without temperature or cuts. fp64. Throws as
/// candidates().
double probability(std::span<const float> logits, int32_t token);

/// Draws tokens, one random number a call (none at temperature 0). The generator is the 64-bit Mersenne
/// Twister of the C++ standard, its upper 53 bits as a number in [0, 1): the same everywhere, unlike the
/// standard's distributions.
class Sampler {
 public:
  /// Throws as validate().
  explicit Sampler(const SamplingOptions& options);
  /// Throws as candidates().
  int32_t draw(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

}  // namespace kvviz
