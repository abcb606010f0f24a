// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::kernels {

/// [heads, tokens, head_dim] in f32, head_dim contiguous; strides in floats.
struct HeadsView {
  const float* data = nullptr;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
  const float* at(int64_t head, int64_t token) const {
    return data + head * head_stride + token * token_stride;
  }
};
struct MutableHeadsView {
  float* data = nullptr;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
  float* at(int64_t head, int64_t token) const { return data + head * head_stride + token * token_stride; }
};

/// Causal attention with grouped queries (query head h reads KV head h / (query_heads / kv_heads)).
/// The queries are the last `queries` of the `keys` tokens: query i stands at position keys - queries + i and
/// sees the keys j <= that position, and with a window > 0 only those with position - j < window. logit =
/// softcap(scale * q.k + slope * (j - position)), softcap(x) = softcap * tanh(x / softcap) when softcap > 0.
///
/// The slopes are ALiBi's (Press et al. 2022, arXiv 2108.12409), one a query head; empty: no such term, at no
/// cost. Where keys are missing from the middle, `key_positions` says where those that are there stood: the
/// distance of a key from a query is then that of their positions, the query's being its own key's. The
/// window goes by rows all the same. Distances are exact; the bias is rounded once.
struct AttentionProblem {
  int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  int64_t queries = 0, keys = 0;
  float scale = 1;
  float softcap = 0;
  int64_t window = 0;
  std::span<const float> alibi_slopes = {};     ///< [query_heads], or empty
  std::span<const int32_t> key_positions = {};  ///< [keys], ascending; empty: 0, 1, ...
  HeadsView q = {}, k = {}, v = {};
  MutableHeadsView out = {};  ///< [query_heads, queries, head_dim]; overlaps no input
};

/// What to measure. Everything is computed from complete softmax rows, block by block: memory O(block x
/// keys).
struct AttentionRequest {
  bool statistics = false;      ///< all of HeadAttention below; off: only the output
  int64_t first_keys = 4;       ///< columns counted as "first keys" in first_mass
  int64_t recent_queries = 64;  ///< the last m queries whose mass recent_mass collects (SnapKV's window)
  int64_t early_queries = 0;    ///< T: early_mass sums over the queries at the positions before T (0: none)
  int64_t watched_key = -1;     ///< a key whose weight in every row watched_mass keeps (-1: none)
  int64_t heaviest_keys = 0;    ///< k: heaviest_mass sums the k largest weights of every row (0: none)
  int64_t map_bins = 0;         ///< B: pooled B x B map per head (0: none); at most `queries` bins are used
  int64_t sampled_queries =
      32;  ///< n rows, equally spaced, for the top-k mass curve: query (2s+1) queries / (2n)
  std::vector<int64_t> exact_heads = {};  ///< query heads whose whole [queries, keys] matrix is wanted
};

/// Statistics of one query head. A[i][j] is the softmax weight of query i on key j; sums are fp64. A query or
/// key that is not finite makes the numbers of the rows that see it NaN.
struct HeadAttention {
  std::vector<double> key_mass;     ///< [keys] sum_i A[i][j]; sums to `queries`
  std::vector<double> recent_mass;  ///< [keys] the same over the last recent_queries queries
  std::vector<double> early_mass;  ///< [min(T, keys)] the same over the queries at positions < T; for a whole
                                   ///< text early_mass[k-1] / (T-k+1) is alpha_k, and all sum to T
  std::vector<float> entropy;      ///< [queries] -sum_j A ln A, nats
  std::vector<float> distance;     ///< [queries] sum_j A (position_i - j), tokens
  std::vector<float> first_mass;   ///< [queries] sum of A over the first_keys first keys
  std::vector<float> sink_mass;    ///< [queries] A[i][0]; its mean over the first T queries is alpha_1 at T
  std::vector<float> self_mass;    ///< [queries] weight of the query on its own key
  std::vector<float> watched_mass;   ///< [queries] A[i][watched_key], 0 where the query does not see it
  std::vector<float> heaviest_mass;  ///< [queries] sum of the k = heaviest_keys largest A[i][j]; empty: k = 0
  std::vector<float> small_share;  ///< [queries] share of the visible keys with A < 1 % of the row's maximum
  std::vector<double>
      top_mass;              ///< [16] mean mass of the 2^b heaviest keys, b = 0..15, over the sampled queries
  std::vector<double> map;   ///< [B x B] mean over the queries of a bin of the mass on a key bin
  std::vector<float> exact;  ///< [queries x keys] when asked for
};

/// Attention output of every query head, and its statistics when asked for (else an empty vector). Heads, and
/// parts of long ones, run in parallel; results do not depend on the number of threads. 4 * head_dim flops
/// per visible (query, key) pair; all statistics together add about a tenth. Keys outside the window cost
/// nothing. Logits and weights are f32. With B = min(map_bins, queries), query i is in bin i * B / queries,
/// key j in bin j * B / keys. A query or key that is not finite, or a q.k that overflows, makes NaN of the
/// output and the statistics of the rows that see it, with a softcap too; a value that is not finite does so
/// to the output, and may also to that of up to five rows on either side of those. Throws UsageError when an
/// exact head does not exist.
std::vector<HeadAttention> attention(const AttentionProblem& problem, const AttentionRequest& request);

}  // namespace kvviz::kernels
