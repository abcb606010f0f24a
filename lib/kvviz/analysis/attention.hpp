// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/legacy.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/kernels/attention.hpp"

namespace kvviz::analysis {

/// How the query heads of one KV head are put together.
enum class GqaAggregate { mean, max, sum };

/// What a head mostly looks at. The first rule that holds decides: sink, local, global, mixed.
enum class HeadClass {
  sink,    ///< mean mass on the first key >= sink_share, and far above uniform attention's: twice that, or
           ///< halfway from it to 1
  local,   ///< mean distance relative to uniform attention <= local_distance
  global,  ///< normalised entropy >= global_entropy
  mixed
};

struct AttentionOptions {
  double sink_eps = 0.3;         ///< a query head is a sink head when alpha_1 > sink_eps (strictly)
  int64_t sink_tokens = 64;      ///< T of alpha_1: the first T queries
  int64_t first_keys = 4;        ///< as in kernels::AttentionRequest::first_keys, for the axes of the result
  double sink_share = 0.3;       ///< class sink
  double local_distance = 0.25;  ///< class local
  double global_entropy = 0.8;   ///< class global
  int64_t top_keys = 20;         ///< length of the list of heaviest keys
  int64_t least_exposure = 64;  ///< keys that fewer queries see (mostly themselves) are not ranked; at most a
                                ///< quarter of what the first key has
  bool head_keys = false;  ///< keep the keys' masses of every query head and KV head, not of layers alone
  GqaAggregate gqa = GqaAggregate::mean;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.sink_eps, "sink-eps", "a query head is a sink head when alpha_1 is above this");
    visit(s.sink_tokens, "sink-tokens", "queries over which alpha_1 is the mean");
    visit(s.first_keys, "first-keys", "columns counted as the first keys");
    visit(s.sink_share, "class-sink", "class sink: least mean mass on the first key");
    visit(s.local_distance, "class-local",
          "class local: largest mean distance, relative to uniform attention");
    visit(s.global_entropy, "class-global", "class global: least normalised entropy");
    visit(s.top_keys, "top-keys", "number of heaviest keys listed");
    visit(s.least_exposure, "least-exposure",
          "queries that must be able to see a key before it is ranked (at most a quarter of the text's)");
  }
};
void validate(const AttentionOptions& options);  ///< throws UsageError

/// One layer's attention: what the streaming kernel measured, and what it was measured on.
struct AttentionLayer {
  std::span<const kernels::HeadAttention> heads;  ///< per query head
  int64_t kv_heads = 0;
  int64_t queries = 0, keys = 0;  ///< the queries are the last `queries` of the `keys` positions
  int64_t window = 0;             ///< sliding window, 0: none
  std::vector<std::vector<double>> value_norms;  ///< [kv_head][key] L2 norm of the value; empty: not known
};

/// One query head. Means are over the queries.
struct AttentionHead {
  int layer = 0, head = 0, kv_head = 0;
  /// Mean of A[i][0] over the first T = sink_tokens queries (Gu et al., ICLR 2025). 1/T .. 1; uniform causal
  /// attention gives H_T / T = 0.0741 at T = 64. kNone: fewer than T queries, or the first query is not at
  /// position 0.
  double alpha_1 = kNone;
  double sink_mass = 0;   ///< mean of A[i][0] over all queries
  double first_mass = 0;  ///< mean mass of the first_keys first keys
  double entropy = 0;     ///< mean, nats
  double entropy_normalized =
      kNone;  ///< mean of entropy_i / ln(visible keys of i) over queries that see > 1 key; kNone: none
  double distance = 0;  ///< mean distance to the keys, in tokens
  double distance_relative =
      kNone;               ///< sum of distances / the same sum for uniform attention: 1 uniform, 0 on itself
  double small_share = 0;  ///< mean share of the visible keys with A < 1 % of the row's maximum
  std::vector<double> top_mass;  ///< [16] mass of the 2^b heaviest keys
  HeadClass head_class = HeadClass::mixed;
  std::vector<double> received;        ///< [keys] key_mass / queries that can see the key, kNone if
                                       ///< none can; empty without head_keys
  std::vector<double> value_weighted;  ///< [keys] received x |v|; empty without value norms
};

/// The query heads of one KV head, put together by AttentionResult::gqa (kNone members are left out; all
/// kNone: kNone).
struct AttentionKvHead {
  int layer = 0, kv_head = 0;
  double alpha_1 = kNone, sink_mass = 0, first_mass = 0, entropy = 0, entropy_normalized = kNone,
         distance = 0;
  std::vector<double> received, value_weighted;  ///< [keys]; empty without head_keys
};

/// Means over the query heads of a layer.
struct AttentionLayerRow {
  int layer = 0;
  double alpha_1 = kNone, sink_rate = kNone;  ///< sink_rate: share of query heads with alpha_1 > eps
  double sink_mass = 0, first_mass = 0, entropy = 0, entropy_normalized = kNone, distance = 0,
         small_share = 0;
  std::array<int64_t, 4> classes{0, 0, 0, 0};    ///< heads of each HeadClass, in its order
  std::vector<double> received, value_weighted;  ///< [keys] mean over query heads
  std::vector<double> recent;  ///< [keys] mean mass per query of the last recent_queries queries (sums to 1)
};

struct TopKey {
  int64_t key = 0;
  double received = 0;            ///< mean over layers of the mean over query heads
  double value_weighted = kNone;  ///< kNone without value norms
};

struct AttentionResult {
  std::vector<AttentionHead> heads;       ///< layer by layer, query heads in order
  std::vector<AttentionKvHead> kv_heads;  ///< layer by layer
  std::vector<AttentionLayerRow> layers;
  GqaAggregate gqa = GqaAggregate::mean;
  /// Sink rate over all layers and query heads, 0 .. 1; kNone, with the reason, where alpha_1 does not exist.
  double sink_rate = kNone;
  double alpha_1 = kNone;  ///< mean over all query heads
  std::string sink_reason;
  double sink_eps = 0.3;
  int64_t sink_tokens = 64, first_keys = 4;
  /// [keys] mean over layers of AttentionLayerRow's (layers of fewer keys hold the last ones; kNone: no layer
  /// has it).
  std::vector<double> received, value_weighted, recent;
  /// Keys by received descending, ties by index. Only those that at least least_exposure queries (or a
  /// quarter of those that see any key) can see in some layer: the last keys of a text are seen by little
  /// more than themselves.
  std::vector<int64_t> ranking;
  std::vector<TopKey> top_keys;  ///< the first of the ranking
};

/// Attention statistics per query head, KV head, layer and key. Throws DataError when the parts do not fit
/// together.
AttentionResult attention(std::span<const AttentionLayer> layers, const AttentionOptions& options);

/// The tables that tokens() takes.
TokenAttention token_attention(const AttentionResult& result);

/// [kv_head][token] L2 norms of a layer's values, for AttentionLayer::value_norms.
std::vector<std::vector<double>> value_norms(const LayerKv& layer);

}  // namespace kvviz::analysis
