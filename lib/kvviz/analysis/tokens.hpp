// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

struct TokensOptions {
  LegacyOptions legacy;
  std::optional<LegacyThresholds> thresholds;  ///< of this cache, if known already
};
void validate(const TokensOptions& options);  ///< throws UsageError

/// What the tokens receive from attention, [layer][token], mean over the query heads
/// (AttentionResult::token_attention). Either table may be empty (not measured).
struct TokenAttention {
  std::vector<std::vector<double>> received;  ///< mass per query that can see the token; kNone if none can
  std::vector<std::vector<double>> value_weighted;  ///< the same times the norm of the token's value
  std::vector<int64_t>
      ranking{};  ///< the tokens that can be ranked, most received first (AttentionResult::ranking)
};

/// One layer, every vector [tokens]. Norms are L2 norms of K[h,t,:], mean over the KV heads.
struct LayerTokens {
  int layer = 0;
  int64_t first_token =
      0;  ///< index in the text of the layer's first token (layers that hold fewer hold the last)
  std::vector<double> k_norm, v_norm;
  std::vector<double> k_norm_relative,
      v_norm_relative;                           ///< / mean over the layer's tokens (scale-free); kNone if 0
  std::vector<double> received, value_weighted;  ///< as given; empty without attention
  std::vector<double> legacy_k_sparsity,
      legacy_v_sparsity;  ///< share of |x| < tau over heads and channels (H1)
};

/// One token over the layers that hold it.
struct TokenRow {
  int64_t token = 0;
  int layers = 0;                                           ///< layers that hold it
  double k_norm = 0, v_norm = 0;                            ///< mean over those layers
  double k_norm_relative = kNone, v_norm_relative = kNone;  ///< mean over those layers
  double received = kNone, value_weighted = kNone;          ///< mean over layers; kNone without attention
  double legacy_k_sparsity = 0, legacy_v_sparsity = 0;      ///< mean over layers
  double legacy_k_magnitude = 0, legacy_v_magnitude = 0;    ///< mean |x|
  double legacy_k_norm = 0, legacy_v_norm = 0;  ///< norm over all heads and channels, mean over layers
  double legacy_energy = 0;                     ///< legacy_k_norm x legacy_v_norm
  double legacy_k_norm_normalized = 0, legacy_v_norm_normalized = 0,
         legacy_energy_normalized = 0;  ///< / maximum
  double legacy_importance =
      0;  ///< 0.35 k + 0.35 v + 0.30 energy (normalised). A large norm is not importance:
          ///< attention sinks have small values and rank last here. See `received`.
};

struct TokensResult {
  std::vector<LayerTokens> layers;
  std::vector<TokenRow> rows;  ///< by token
  std::vector<int64_t> order;  ///< TokenAttention::ranking; empty without attention
  LegacyThresholds thresholds;
};

/// Token statistics, one pass over the cache; `attention` may be null. Throws DataError on NaN or infinity,
/// and when the tables of `attention` do not fit the cache.
TokensResult tokens(const KvView& cache, const TokensOptions& options, const TokenAttention* attention);
TokensResult tokens(const KvView& cache, const TokensOptions& options);

}  // namespace kvviz::analysis
