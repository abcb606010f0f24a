// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/stats/alignment.hpp"
#include "kvviz/stats/complete_linkage.hpp"
#include "kvviz/stats/subspaces.hpp"

namespace kvviz::analysis {

struct SimilarityOptions {
  double layer_threshold = 0.8, head_threshold = 0.75;  ///< CKA excess
  double channel_threshold = 0.75;                      ///< |Pearson r|
  double token_threshold = 0.9;                         ///< cosine
  int64_t max_tokens =
      1024;                 ///< layers, heads and channels are compared on at most this many, equally spaced
  int64_t skip_first = 0;   ///< tokens at the start of the text that this leaves out
  int64_t positions = 100;  ///< tokens that are compared with each other, equally spaced
  double energy = 0.9;      ///< share of the sum of squares that a subspace carries ...
  int64_t max_rank = 32;    ///< ... in at most this many directions
  /// Head whose channel correlations are kept; none: the one (of the layer) whose keys correlate most.
  std::optional<int64_t> layer{}, head{};
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.layer_threshold, "layer-threshold", "CKA above chance from which layers are a group");
    visit(s.head_threshold, "head-threshold", "CKA above chance from which KV heads are a group");
    visit(s.channel_threshold, "channel-threshold",
          "|correlation| from which channels of a head are a group");
    visit(s.token_threshold, "token-threshold", "cosine from which tokens are a group");
    visit(s.max_tokens, "max-tokens",
          "tokens, equally spaced, on which layers, heads and channels are compared");
    visit(s.skip_first, "skip-first", "tokens at the start of the text that this comparison leaves out");
    visit(s.positions, "positions", "tokens, equally spaced, that are compared with each other");
    visit(s.energy, "subspace-energy", "share of the sum of squares that a layer's subspace carries");
    visit(s.max_rank, "subspace-rank", "most directions of a layer's subspace");
  }
};
void validate(const SimilarityOptions& options);  ///< throws UsageError

struct HeadId {
  int layer = 0, head = 0;
};

/// Disjoint groups by complete linkage: every pair within one is at least `threshold` alike.
struct Grouping {
  double threshold = 0;  ///< as applied: the option, or what chance reaches where that is more
  int64_t items = 0;
  std::vector<std::vector<int64_t>> groups;  ///< of two members or more
  std::vector<stats::Merge> merges;          ///< the whole tree, most similar first; empty for channels
  double f16_bytes = 0;  ///< of all members but the largest of each group: what one copy a group would save
  int64_t removed() const {
    int64_t sum = 0;
    for (const auto& group : groups) sum += std::ssize(group) - 1;
    return sum;
  }
  /// [items] index of each item's group; -1: alone.
  std::vector<int64_t> group_of() const;
};

/// Two layers, first < second. Subspaces are those of the leading left singular vectors of [tokens,
/// features]: directions in the space of tokens, which do not depend on the basis of either layer's channels.
struct LayerPair {
  int first = 0, second = 0;
  stats::Alignment alignment;
  stats::SubspaceOverlap subspace;
};

/// Layer to = from + 1 predicted from the principal components of layer `from`, least squares with intercept,
/// fitted on every other block of tokens and judged on the blocks between.
struct LayerPrediction {
  int from = 0, to = 0;
  int64_t fitted = 0, judged = 0;  ///< tokens
  stats::Prediction prediction;
};

/// Channels of one head over the tokens.
struct HeadChannelsRow {
  int layer = 0, head = 0;
  int64_t dim = 0;
  double mean_abs_r = kNone;  ///< over all pairs of channels that vary; kNone: fewer than two do
  double chance = kNone;      ///< its mean for independent channels
  double excess = kNone;      ///< (mean_abs_r - chance) / (1 - chance)
  double max_abs_r = kNone;
  int64_t groups = 0, grouped = 0;  ///< groups of two channels or more, channels in them
};

/// Keys, or values.
struct SimilaritySide {
  std::vector<double> layer_excess, layer_overlap;  ///< [layers, layers] CKA excess, subspace mean_cos2
  std::vector<LayerPair> pairs;
  std::vector<LayerPrediction> predictions;  ///< empty: one layer, or fewer than 16 tokens
  Grouping layers;
  std::vector<double> head_excess;  ///< [heads, heads]
  Grouping heads;
  std::vector<HeadChannelsRow> channels;
  std::vector<double> picked;                  ///< [dim, dim] r of the picked head's channels
  Grouping channel_groups;                     ///< of all heads: bytes and number of groups; items: channels
  std::vector<double> token_cosine;            ///< [positions, positions]
  Grouping tokens;                             ///< of the positions
  std::vector<double> token_channels;          ///< [positions, dim] mean |x| over layers and heads
  int64_t dim = 0;                             ///< largest head_dim
  double layer_bytes = 0, position_bytes = 0;  ///< f16 bytes of this side: all layers, one token
};

struct SimilarityResult {
  int layers = 0;
  int64_t tokens = 0;              ///< that all layers hold
  int64_t compared = 0;            ///< of them for layers, heads and channels
  std::vector<HeadId> heads;       ///< KV heads, layer by layer: the order of every matrix over heads
  std::vector<int64_t> positions;  ///< in the text
  std::vector<double>
      sink_share;  ///< [positions] share of query heads whose sink key it is; empty: not measured
  HeadId picked;
  bool rotated_keys = false;  ///< after RoPE: keys turn with the position, in all layers and heads alike
  std::string layer_reason, prediction_reason, cka_reason;  ///< why there is no such number; empty: there is
  SimilaritySide key, value;
  const SimilaritySide& side(Half half) const { return half == Half::key ? key : value; }
  std::vector<HeadId> query_heads;
  std::vector<double> attention;  ///< [query heads, query heads]; empty: not measured
};

/// How alike the layers, heads, tokens and channels of a cache are. Keys and values apart, everything on the
/// same tokens, signed, and less what chance gives.
/// - Layers [tokens, kv_heads x head_dim] and heads [tokens, head_dim]: linear CKA (Kornblith et al., ICML
/// 2019)
///   of each pair, less its exact mean over all pairings of the tokens, (CKA - mean) / (1 - mean). Invariant
///   to rotation and scale. It counts as 0 for grouping unless it stands further above that mean than the
///   best of as many pairs does by chance (stats::chance_deviations), equal ones apart.
/// - Layers also by the principal angles of their leading directions, and by what layer l says about l + 1.
/// - Channels of a head: Pearson correlation; the threshold is raised to stats::chance_correlation.
/// - Tokens: cosine of the keys (values) of all layers and heads side by side, less their mean over all
/// tokens;
///   the threshold is raised to stats::chance_correlation of as many samples as the tokens' spectrum has
///   dimensions (participation ratio).
/// - Query heads: 1 - Jensen-Shannon distance of where they look: the distribution of (query bin, key bin)
/// with
///   every query as likely. The causal order is common to all: this has no chance level taken off.
/// `attention`: one entry a layer with maps (kernels::AttentionRequest::map_bins), or none. Layers that hold
/// fewer tokens hold the last. Cost: (2 D + N) N T^2 / 2 flops a side for N heads of D channels and T
/// compared tokens, two eigenvalue problems a layer and side of T and T / 2, T D^2 a head. Memory: one side
/// of the compared tokens in f32, 64 MiB, N^2. Throws UsageError for a head or layer that is not there,
/// DataError on NaN or infinity.
SimilarityResult similarity(const KvView& cache, std::span<const AttentionLayer> attention,
                            const SimilarityOptions& options);

/// One mechanism of sharing: bytes that keeping one copy a group would save. An upper bound, since nothing is
/// lost only where members are equal; mechanisms overlap, so they must not be added up.
struct SimilaritySaving {
  std::string mechanism;  ///< layers, heads, channels, tokens
  Half half = Half::key;
  int64_t items = 0, groups = 0, grouped = 0, removed = 0;
  double threshold = 0;
  double f16_bytes = 0;
  double share = 0;  ///< of the f16 bytes of keys and values that were looked at
};
std::vector<SimilaritySaving> savings(const SimilarityResult& result);

}  // namespace kvviz::analysis
