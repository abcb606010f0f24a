// SPDX-License-Identifier: MIT
#pragma once
#include <optional>

#include "kvviz/analysis/cache_profile.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

// The memory of a cache as tidy tables; definitions are in analysis/cache_size.hpp and
// analysis/cache_profile.hpp. Bytes are of all sequences, but for bytes per token.

/// What the tables say beside the sizes.
struct ProfileContext {
  std::string dtype;                       ///< that the tiers are filled with
  std::optional<int64_t> model_context{};  ///< most positions the model was made for
  std::optional<int64_t> weights{};        ///< bytes; absent: not asked for
};

Table cache_types_table(const analysis::CacheSizes& sizes);  ///< "dtypes", key: dtype
/// Key: tokens; in the chosen dtype. `fits_in` names the tiers, from the fastest, that hold it together.
/// Columns about the model's context and the weights only where these are known.
Table projection_table(const analysis::CacheSizes& sizes, const ProfileContext& context,
                       const std::vector<analysis::MemoryTier>& tiers);
Table projection_dtypes_table(const analysis::CacheSizes& sizes);  ///< key: tokens, dtype
Table longest_context_table(const analysis::CacheSizes& sizes);  ///< key: memory; tokens, a column per dtype
/// "cache_layers", key: layer.
Table cache_layers_table(const analysis::CacheShape& shape, const analysis::CacheType& type,
                         const analysis::CacheProfile& profile, int64_t tokens);
/// Key: placement, tier. Columns about demand and attention only with a measurement.
Table placement_table(const analysis::CacheProfile& profile);
/// "block_runs", key: placement, layer, first_block: neighbouring blocks of a layer in the same tier.
Table block_runs_table(const analysis::CacheProfile& profile, int64_t block_tokens, int64_t tokens);

}  // namespace kvviz::tables
