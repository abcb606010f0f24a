// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/attention.hpp"

namespace kvviz::analysis {

// Attention sinks of one text, head by head. What many texts say together: sink_study.hpp.

/// How strongly a query head rests on a first token. A[i][j] is the weight of query i on key j, n the tokens
/// of the text, all counted from 0.
enum class SinkMetric {
  alpha,         ///< mean of A[i][k-1] over the queries i = k-1 .. T-1 (Gu et al., ICLR 2025: alpha_k)
  share0,        ///< mean of A[i][0] over all n queries, query 0 (always 1) included; 1/n .. 1; legacy score
  share0_later,  ///< the same without query 0: (n share0 - 1) / (n - 1)
  excess,  ///< above uniform causal attention: (share0 - H_n/n) / (1 - H_n/n); 0 uniform, 1 all on key 0
  recent,  ///< mean of A[i][0] over the last m queries
  ratio    ///< mean of A[i][0] over i > 0, over that of uniform attention, mean of 1/(i+1): 1 is uniform
};
inline constexpr size_t sink_metric_count = 6;

struct SinkMetricInfo {
  const char* name;   ///< as the option and the columns have it
  const char* label;  ///< for axes, with symbols
  double threshold;   ///< default: a head is a sink head above it
  bool inclusive;     ///< >= in place of >: the legacy rule
  bool is_share;      ///< lies in [0, 1] (excess: at most 1); the ratio does not
};
/// In the order of SinkMetric.
std::span<const SinkMetricInfo> sink_metrics();
const SinkMetricInfo& info_of(SinkMetric metric);
/// Throws UsageError naming the metrics there are.
SinkMetric parse_sink_metric(const std::string& name);

/// What a token is, for the question which tokens become sinks.
enum class TokenKind { bos, newline, punctuation, other };
inline constexpr size_t token_kind_count = 4;
const char* name_of(TokenKind kind);

struct SinkOptions {
  int64_t tokens = 64;             ///< T of alpha_k
  int64_t k = 1;                   ///< which token alpha_k looks at, from 1
  int64_t recent = 64;             ///< m of `recent`, at most n
  double ratio = 10, mass = 0.05;  ///< a key is a sink key when it gets ratio x uniform and this mean mass
  double column_sink = 0.1, column_heavy = 0.05;  ///< sinkvis: keys whose column mean is above
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.tokens, "tokens-per-sequence", "T of alpha: the first T queries of each text");
    visit(s.k, "sink-token", "k of alpha: the token it looks at, from 1");
    visit(s.recent, "recent", "m: the last queries that the metric recent is the mean of");
    visit(s.ratio, "key-ratio", "a key is a sink key above this multiple of uniform attention ...");
    visit(s.mass, "key-mass", "... and at or above this mean mass per later query");
    visit(s.column_sink, "column-sink", "sinkvis: a key is a sink above this column mean");
    visit(s.column_heavy, "column-heavy", "sinkvis: other keys above this column mean are heavy hitters");
  }
};
/// Throws UsageError: T < 2, k outside 1 .. T, recent < 1, a share outside (0, 1), ratio <= 0.
void validate(const SinkOptions& options);

/// What the kernel has to measure for these options (statistics, recent queries, watched key).
kernels::AttentionRequest sink_request(const SinkOptions& options);

/// One query head on one text.
struct HeadSinks {
  int layer = 0, head = 0, kv_head = 0;
  std::array<double, sink_metric_count> score{};  ///< in the order of SinkMetric; kNone: not defined here
  std::vector<int64_t>
      sink_keys;  ///< exposure-corrected: mean over later queries >= mass and > ratio x uniform
  int64_t column_sinks = 0,
          column_heavy = 0;  ///< sinkvis's counts: column mean over all n rows, strictly above
};

/// One layer on one text.
struct LayerSinks {
  int layer = 0;
  int64_t kv_heads = 0, tokens = 0;
  std::vector<HeadSinks> heads;           ///< query heads in order
  std::vector<std::vector<float>> curve;  ///< [head][query]: A[i][k-1]; prefixes give alpha_k at every length
  std::array<int64_t, token_kind_count> sink_keys{};  ///< sink keys by kind, summed over the heads
  std::array<double, token_kind_count> mass{};        ///< mean over heads of the share of attention on a kind
  std::array<int64_t, token_kind_count> kind_tokens{};  ///< tokens of each kind in the text
  /// Mean L2 norms over KV heads of key and value: of token 0, and the median of the others.
  double k_norm_first = kNone, k_norm_rest = kNone, v_norm_first = kNone, v_norm_rest = kNone;
  /// The same of the sink keys: a KV head's are those of any of its query heads. Mean over `norm_keys` pairs
  /// of KV head and sink key; kNone: no sink key.
  double k_norm_sinks = kNone, v_norm_sinks = kNone;
  int64_t norm_keys = 0;
};

/// Norms of one layer's cache, [kv_head][token].
struct LayerNorms {
  std::vector<std::vector<double>> key, value;
};
LayerNorms norms_of(const LayerKv& layer);

/// Sinks of one layer from what the kernel measured under sink_request() on a whole text. A text of fewer
/// than T tokens has no alpha. A sink key must be seen by 64 later queries, or half the text, or the whole
/// window where these are fewer: local attention gives every key a large weight for a short time. With a
/// sliding window, exposure and uniform attention are those of the window. Throws DataError: parts that do
/// not fit together, weights that are NaN. O(heads x tokens), fp64.
LayerSinks sink_layer(int layer, const AttentionLayer& measured, const LayerNorms& norms,
                      std::span<const TokenKind> kinds, const SinkOptions& options);

/// alpha_1 of uniform causal attention at T: H_T / T, H_T = 1 + 1/2 + ... + 1/T.
double uniform_alpha(int64_t tokens);

}  // namespace kvviz::analysis
