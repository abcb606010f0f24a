// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/analysis/similarity_parts.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/chance.hpp"
#include "kvviz/stats/correlations.hpp"
#include "kvviz/stats/jensen_shannon.hpp"
#include "kvviz/stats/sink_keys.hpp"

namespace kvviz::analysis {
namespace {

/// Independent dimensions of rows with these products: the participation ratio of their spectrum.
double dimensions_of(std::span<const double> products, int64_t n) {
  double trace = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) trace += products[i * n + i];
  for (const double value : products) squares += value * value;
  return squares > 0 ? trace * trace / squares : 0;
}

/// Shares of all queries that are in each bin of the pooled map.
std::vector<double> bin_shares(int64_t bins, int64_t queries) {
  std::vector<double> shares(bins);
  for (int64_t i = 0; i < queries; ++i) shares[i * bins / queries] += 1 / static_cast<double>(queries);
  return shares;
}

int64_t bins_of(const kernels::HeadAttention& head) {
  return std::llround(std::sqrt(static_cast<double>(head.map.size())));
}

void count_sinks(const AttentionLayer& layer, const ComparedTokens& tokens, std::vector<double>& counts) {
  for (const kernels::HeadAttention& head : layer.heads) {
    std::vector<double> later = head.key_mass;
    for (size_t j = 0; j < later.size(); ++j) later[j] -= static_cast<double>(head.self_mass[j]);
    for (const int64_t key : stats::sink_keys(later, layer.window, {})) {
      const auto place = std::ranges::find(tokens.positions, key - (layer.keys - tokens.common));
      if (place != tokens.positions.end()) ++counts[place - tokens.positions.begin()];
    }
  }
}

}  // namespace

TokenComparison::TokenComparison(const ComparedTokens& tokens, int64_t dim)
    : tokens_(tokens),
      dim_(dim),
      products_(tokens.positions.size() * tokens.positions.size()),
      magnitudes_(tokens.positions.size() * dim),
      heads_(dim) {}

void TokenComparison::add(const HalfData& layer) {
  const int64_t n = std::ssize(tokens_.positions), width = layer.heads * layer.dim;
  const int64_t skipped = layer.tokens - tokens_.common;
  std::vector<float> rows(n * width);
  kernels::parallel_for(layer.heads, [&](int64_t h) {
    const stats::MatrixView all = layer.head(h);
    const std::vector<double> mean =
        stats::column_means({all.data + skipped * all.cols, tokens_.common, all.cols});
    for (int64_t i = 0; i < n; ++i) {
      const float* const from = all.data + (skipped + tokens_.positions[i]) * all.cols;
      float* const to = rows.data() + i * width + h * layer.dim;
      for (int64_t c = 0; c < layer.dim; ++c)
        to[c] = static_cast<float>(static_cast<double>(from[c]) - mean[c]);
    }
  });
  stats::add_row_products({rows.data(), n, width}, products_);
  for (int64_t h = 0; h < layer.heads; ++h) {
    for (int64_t i = 0; i < n; ++i) {
      const auto from = layer.row(h, skipped + tokens_.positions[i]);
      for (int64_t c = 0; c < layer.dim; ++c)
        magnitudes_[i * dim_ + c] += std::fabs(static_cast<double>(from[c]));
    }
    for (int64_t c = 0; c < layer.dim; ++c) ++heads_[c];
  }
}

void TokenComparison::finish(double bytes_of_a_token, const SimilarityOptions& options,
                             SimilaritySide& side) const {
  const int64_t n = std::ssize(tokens_.positions);
  std::vector<double> products = products_;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) products[i * n + j] = products[j * n + i];
  side.dim = dim_;
  side.token_channels = magnitudes_;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < dim_; ++c)
      side.token_channels[i * dim_ + c] = heads_[c] > 0 ? magnitudes_[i * dim_ + c] / heads_[c] : kNone;
  side.token_cosine.resize(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double scale = std::sqrt(products[i * n + i]) * std::sqrt(products[j * n + j]);
      side.token_cosine[i * n + j] = scale > 0 ? std::clamp(products[i * n + j] / scale, -1.0, 1.0) : kNone;
    }
  // One dimension more than those that are free, as a correlation loses one to its means.
  const double samples = dimensions_of(products, n) + 1;
  const double pairs = static_cast<double>(n) * static_cast<double>(n - 1);
  side.position_bytes = bytes_of_a_token;
  const std::vector<double> bytes(n, bytes_of_a_token);
  side.tokens = grouping(side.token_cosine, bytes,
                         std::max(options.token_threshold, stats::chance_correlation(pairs, samples)));
}

void compare_attention(std::span<const AttentionLayer> layers, const ComparedTokens& tokens,
                       SimilarityResult& result) {
  if (layers.empty()) return;
  std::vector<double> cells;
  result.sink_share.assign(tokens.positions.size(), 0.0);
  int64_t bins = -1;
  for (size_t l = 0; l < layers.size(); ++l) {
    const AttentionLayer& layer = layers[l];
    for (size_t h = 0; h < layer.heads.size(); ++h) {
      const kernels::HeadAttention& head = layer.heads[h];
      if (bins < 0) bins = bins_of(head);
      require(bins > 0 && std::ssize(head.map) == bins * bins, "[similarity] layer ", l, " head ", h,
              " has a map of ", head.map.size(), " cells; expected ", bins, " x ", bins);
      result.query_heads.push_back({static_cast<int>(l), static_cast<int>(h)});
      const std::vector<double> shares = bin_shares(bins, layer.queries);
      for (int64_t q = 0; q < bins; ++q)
        for (int64_t k = 0; k <= q; ++k) cells.push_back(shares[q] * head.map[q * bins + k]);
    }
    count_sinks(layer, tokens, result.sink_share);
  }
  const int64_t heads = std::ssize(result.query_heads);
  for (double& share : result.sink_share) share /= static_cast<double>(heads);
  result.attention = stats::jensen_shannon_similarity(cells, heads);
}

}  // namespace kvviz::analysis
