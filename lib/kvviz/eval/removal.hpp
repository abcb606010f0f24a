// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/eval/changed_session.hpp"

namespace kvviz {

/// What is taken out of the cache of a prefix. All indices from 0.
struct Removal {
  std::vector<int> layers;  ///< where; empty: in every layer
  std::vector<int> heads;   ///< KV heads, where; empty: in every one. Not for query_heads
  /// Query heads whose output is zero. A KV head without a query head left is not kept.
  std::vector<int> query_heads;
  std::vector<int> tokens;  ///< positions that get exactly no attention from then on
  /// A key's channel adds nothing to q.k, a value's channel is zero in the output; of later tokens too.
  std::vector<int> channels;
  /// Elements of the prefix with |x| < threshold_percent / 100 x the largest magnitude of all keys (all
  /// values) are 0; strictly. 0: none.
  double threshold_percent = 0;
  bool keys = true, values = true;  ///< whose channels and small elements

  /// Nothing but a place: the KV heads there are removed as a whole. Their query heads' output is zero, and
  /// nothing of theirs is kept, now or later.
  bool whole_heads() const {
    return query_heads.empty() && tokens.empty() && channels.empty() && threshold_percent == 0 &&
           !(layers.empty() && heads.empty());
  }
};

/// A cache with something removed, to go on with, and how much of it is left. A layer's bytes: 2 (f16) for
/// each kept element; where small elements are 0, the less of that and of a bitmap with the others; in layers
/// with a sliding window 4 for the position of each held token, once a layer, where tokens are gone (keys
/// after RoPE need none elsewhere). Which layers, heads and channels are gone is a setting of the model and
/// not counted.
struct RemovedCache {
  std::vector<ChangedLayer> layers;       ///< values as they were: not rounded to f16
  double elements = 0;                    ///< keys of the whole cache; values are as many
  double key_zeros = 0, value_zeros = 0;  ///< of these removed, or exactly 0
};

/// Throws UsageError for an index that does not exist, naming those that do, and for one that is named twice;
/// `prefix`: tokens of the shortest.
void validate(const Removal& removal, const ModelConfig& model, int64_t prefix);

/// Keys are after RoPE. A removal of nothing gives the cache as it is. Throws as validate(). One copy of what
/// changes.
RemovedCache removed(const KvCache& cache, const ModelConfig& model, const Removal& removal);

}  // namespace kvviz
