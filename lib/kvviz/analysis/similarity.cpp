// SPDX-License-Identifier: MIT
#include "kvviz/analysis/similarity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "kvviz/analysis/similarity_parts.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::analysis {
namespace {

/// NaN and infinity spread over everything that is compared with them.
void check_finite(std::span<const float> x, int64_t layer, Half half) {
  const bool finite = std::ranges::all_of(x, [](float value) { return std::isfinite(value); });
  require(finite, "layer ", layer, ": the ", half == Half::key ? "keys" : "values",
          " hold NaN or infinite numbers");
}

ComparedTokens tokens_of(const KvView& cache, const SimilarityOptions& options) {
  ComparedTokens t{.common = token_count(cache)};
  for (const LayerKv& layer : cache.layers) t.common = std::min(t.common, layer.tokens());
  require(options.skip_first < t.common, "--skip-first ", options.skip_first, " leaves none of ", t.common,
          " tokens");
  t.rows = equally_spaced(options.skip_first, t.common, options.max_tokens);
  t.positions = equally_spaced(0, t.common, options.positions);
  return t;
}

const at::Tensor& tensor_of(const LayerKv& layer, Half half) {
  return half == Half::key ? layer.key : layer.value;
}

/// One side of the cache read once: the sample, and the tokens on the way.
SideSample read_side(const KvView& cache, Half half, const ComparedTokens& tokens,
                     TokenComparison& by_token) {
  SideSample sample{.rows = std::ssize(tokens.rows), .layers = std::ssize(cache.layers)};
  for (int64_t l = 0; l < sample.layers; ++l) {
    const at::Tensor tensor = widened(tensor_of(cache.layers[l], half));
    const HalfData data{.owner = tensor,
                        .data = tensor.data_ptr<float>(),
                        .heads = tensor.size(0),
                        .tokens = tensor.size(1),
                        .dim = tensor.size(2)};
    check_finite(data.elements(), l, half);
    const size_t first = sample.heads.size();
    sample.heads.resize(first + data.heads);
    sample.dims.resize(first + data.heads, data.dim);
    sample.layer_of.resize(first + data.heads, l);
    kernels::parallel_for(data.heads, [&](int64_t h) {
      std::vector<float>& out = sample.heads[first + h];
      out.reserve(tokens.rows.size() * data.dim);
      for (const int64_t token : tokens.rows) {
        const auto row = data.row(h, data.tokens - tokens.common + token);
        out.insert(out.end(), row.begin(), row.end());
      }
    });
    by_token.add(data);
  }
  return sample;
}

SimilaritySide side_of(const KvView& cache, Half half, const ComparedTokens& tokens,
                       const SimilarityOptions& options) {
  SimilaritySide side;
  int64_t dim = 0;
  double token_bytes = 0;
  std::vector<double> head_bytes;
  std::vector<int64_t> head_tokens;
  for (const LayerKv& layer : cache.layers) {
    const at::Tensor& x = tensor_of(layer, half);
    dim = std::max(dim, x.size(2));
    head_bytes.insert(head_bytes.end(), x.size(0), 2.0 * static_cast<double>(x.size(1) * x.size(2)));
    head_tokens.insert(head_tokens.end(), x.size(0), x.size(1));
    token_bytes += 2.0 * static_cast<double>(x.size(0) * x.size(2));
  }
  side.layer_bytes = std::accumulate(head_bytes.begin(), head_bytes.end(), 0.0);
  const stats::SerialBlas serial;
  TokenComparison by_token(tokens, dim);
  const SideSample sample = read_side(cache, half, tokens, by_token);
  by_token.finish(token_bytes, options, side);
  compare_layers_and_heads(sample, head_bytes, options, side);
  compare_channels(sample, head_tokens, options, side);
  for (size_t h = 0; h < sample.heads.size(); ++h)
    side.channels[h].layer = static_cast<int>(sample.layer_of[h]);
  return side;
}

/// The head that the options name, or the one among those they allow whose keys correlate most.
HeadId picked_head(const SimilarityResult& result, const SimilarityOptions& options) {
  HeadId best{.layer = -1};
  double most = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < result.heads.size(); ++i) {
    const HeadId id = result.heads[i];
    if (id.layer != options.layer.value_or(id.layer) || id.head != options.head.value_or(id.head)) continue;
    const double excess = result.key.channels[i].excess;
    if (best.layer >= 0 && !(excess > most)) continue;
    best = id;
    if (!std::isnan(excess)) most = excess;
  }
  return best;
}

void check_picked(const KvView& cache, const SimilarityOptions& options) {
  const int64_t layers = std::ssize(cache.layers);
  if (options.layer)
    require<UsageError>(*options.layer < layers, "--layer ", *options.layer, ": the cache has layers 0 to ",
                        layers - 1);
  int64_t heads = 0;
  for (int64_t l = 0; l < layers; ++l)
    if (l == options.layer.value_or(l)) heads = std::max(heads, cache.layers[l].kv_heads());
  if (options.head)
    require<UsageError>(*options.head < heads, "--head ", *options.head, ": ",
                        options.layer ? cat("layer ", *options.layer) : std::string("a layer"),
                        " has KV heads 0 to ", heads - 1);
}

void add_reasons(SimilarityResult& result) {
  if (result.layers < 2) result.layer_reason = "one layer";
  result.prediction_reason = result.layer_reason;
  if (result.prediction_reason.empty() && result.key.predictions.empty())
    result.prediction_reason = cat("fitting and judging need 16 tokens; ", result.compared, " are compared");
  if (result.compared < 3)
    result.cka_reason =
        cat("with ", result.compared, result.compared == 1 ? " token" : " tokens", " everything is alike");
}

double largest_saved(std::span<const int64_t> group, std::span<const double> bytes) {
  double sum = 0, largest = 0;
  for (const int64_t item : group) sum += bytes[item], largest = std::max(largest, bytes[item]);
  return sum - largest;
}

}  // namespace

std::vector<int64_t> Grouping::group_of() const {
  std::vector<int64_t> index(items, -1);
  for (int64_t g = 0; g < std::ssize(groups); ++g)
    for (const int64_t item : groups[g]) index[item] = g;
  return index;
}

std::vector<int64_t> equally_spaced(int64_t first, int64_t end, int64_t count) {
  const int64_t all = end - first, n = std::min(count, all);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < n; ++i)
    chosen.push_back(n == 1 ? first : first + (2 * i * (all - 1) + n - 1) / (2 * (n - 1)));
  return chosen;
}

std::vector<float> SideSample::layer(int64_t index, int64_t& cols) const {
  cols = 0;
  for (size_t h = 0; h < heads.size(); ++h) cols += layer_of[h] == index ? dims[h] : 0;
  std::vector<float> out(rows * cols);
  int64_t at = 0;
  for (size_t h = 0; h < heads.size(); ++h) {
    if (layer_of[h] != index) continue;
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(heads[h].data() + r * dims[h], dims[h], out.data() + r * cols + at);
    at += dims[h];
  }
  return out;
}

Grouping grouping(std::span<const double> alike, std::span<const double> bytes, double threshold) {
  Grouping g{.threshold = threshold, .items = std::ssize(bytes)};
  g.merges = stats::merge_tree(alike, g.items);
  for (auto& group : stats::groups_at(g.merges, g.items, threshold)) {
    if (group.size() < 2) continue;
    g.f16_bytes += largest_saved(group, bytes);
    g.groups.push_back(std::move(group));
  }
  return g;
}

void validate(const SimilarityOptions& o) {
  const auto share = [](double value, const char* name) {
    require<UsageError>(value > 0 && value <= 1, "--", name, ' ', value,
                        ": expected a number above 0, at most 1");
  };
  share(o.layer_threshold, "layer-threshold");
  share(o.head_threshold, "head-threshold");
  share(o.channel_threshold, "channel-threshold");
  share(o.token_threshold, "token-threshold");
  share(o.energy, "subspace-energy");
  const auto whole = [](int64_t value, const char* name, int64_t least) {
    require<UsageError>(value >= least, "--", name, ' ', value, ": expected ", least, " or more");
  };
  whole(o.max_tokens, "max-tokens", 2);
  whole(o.positions, "positions", 2);
  whole(o.max_rank, "subspace-rank", 1);
  whole(o.skip_first, "skip-first", 0);
  whole(o.layer.value_or(0), "layer", 0);
  whole(o.head.value_or(0), "head", 0);
}

SimilarityResult similarity(const KvView& cache, std::span<const AttentionLayer> attention,
                            const SimilarityOptions& options) {
  validate(options);
  const ComparedTokens tokens = tokens_of(cache, options);
  check_picked(cache, options);
  SimilarityResult result{
      .layers = static_cast<int>(cache.layers.size()),
      .tokens = tokens.common,
      .compared = std::ssize(tokens.rows),
      .positions = tokens.positions,
      .rotated_keys = cache.basis == KeyBasis::post_rope && cache.pairing != RopePairing::none};
  for (int64_t& position : result.positions) position += token_count(cache) - tokens.common;
  for (int l = 0; l < result.layers; ++l)
    for (int h = 0; h < cache.layers[l].kv_heads(); ++h) result.heads.push_back({l, h});
  for (const Half half : {Half::key, Half::value}) {
    SimilaritySide& side = half == Half::key ? result.key : result.value;
    side = side_of(cache, half, tokens, options);
    for (size_t i = 0; i < result.heads.size(); ++i) side.channels[i].head = result.heads[i].head;
  }
  result.picked = picked_head(result, options);
  for (const Half half : {Half::key, Half::value}) {
    // Read once more: which head it is shows only after all keys.
    const at::Tensor x = widened(tensor_of(cache.layers[result.picked.layer], half));
    const int64_t dim = x.size(2), skipped = x.size(1) - tokens.common;
    std::vector<float> rows;
    for (const int64_t token : tokens.rows) {
      const float* const row = x.data_ptr<float>() + (result.picked.head * x.size(1) + skipped + token) * dim;
      rows.insert(rows.end(), row, row + dim);
    }
    (half == Half::key ? result.key : result.value).picked = picked_correlations(rows, dim);
  }
  compare_attention(attention, tokens, result);
  add_reasons(result);
  return result;
}

std::vector<SimilaritySaving> savings(const SimilarityResult& result) {
  const double all = result.key.layer_bytes + result.value.layer_bytes;
  const double shown = (result.key.position_bytes + result.value.position_bytes) *
                       static_cast<double>(result.positions.size());
  const std::tuple<const char*, Grouping SimilaritySide::*, double> mechanisms[] = {
      {"layers", &SimilaritySide::layers, all},
      {"heads", &SimilaritySide::heads, all},
      {"channels", &SimilaritySide::channel_groups, all},
      {"tokens", &SimilaritySide::tokens, shown}};
  std::vector<SimilaritySaving> rows;
  for (const auto& [name, member, whole] : mechanisms)
    for (const Half half : {Half::key, Half::value}) {
      const Grouping& g = result.side(half).*member;
      SimilaritySaving row{.mechanism = name,
                           .half = half,
                           .items = g.items,
                           .groups = std::ssize(g.groups),
                           .removed = g.removed(),
                           .threshold = g.threshold,
                           .f16_bytes = g.f16_bytes,
                           .share = g.f16_bytes / whole};
      row.grouped = row.groups + row.removed;
      rows.push_back(row);
    }
  return rows;
}

}  // namespace kvviz::analysis
