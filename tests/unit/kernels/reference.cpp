// SPDX-License-Identifier: MIT
#include "unit/kernels/reference.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace kvviz::test {
namespace {

std::vector<float> filled(int64_t rows, int64_t dim, int64_t gap, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> data(static_cast<size_t>(rows * (dim + gap)), std::numeric_limits<float>::quiet_NaN());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < dim; ++c) data[static_cast<size_t>(r * (dim + gap) + c)] = normal(random);
  }
  return data;
}

}  // namespace

AttentionData::AttentionData(const AttentionCase& c) {
  std::mt19937 random(c.seed);
  q = filled(c.query_heads * c.queries, c.head_dim, c.gap, c.spread, random);
  k = filled(c.kv_heads * c.keys, c.head_dim, c.gap, c.spread, random);
  v = filled(c.kv_heads * c.keys, c.head_dim, c.gap, c.spread, random);
  const int64_t row = c.head_dim + c.gap;
  // A read behind the last row of a tensor must leave the allocation, where a sanitizer sees it.
  for (auto* tensor : {&q, &k, &v}) tensor->resize(tensor->size() - static_cast<size_t>(c.gap));
  for (auto* tensor : {&q, &k, &v}) tensor->shrink_to_fit();
  out.assign(static_cast<size_t>(c.query_heads * c.queries * row), -7.0F);
  for (int64_t h = 0; c.alibi != 0 && h < c.query_heads; ++h)
    slopes_.push_back(c.alibi / static_cast<float>(h + 1));
  for (int64_t j = 0; c.first_position >= 0 && j < c.keys; ++j)
    positions_.push_back(static_cast<int32_t>(c.first_position + j + j / 3));
  problem_ = {.query_heads = c.query_heads,
              .kv_heads = c.kv_heads,
              .head_dim = c.head_dim,
              .queries = c.queries,
              .keys = c.keys,
              .scale = c.scale,
              .softcap = c.softcap,
              .window = c.window,
              .alibi_slopes = slopes_,
              .key_positions = positions_,
              .q = {q.data(), c.queries * row, row},
              .k = {k.data(), c.keys * row, row},
              .v = {v.data(), c.keys * row, row},
              .out = {out.data(), c.queries * row, row}};
}

ReferenceHead reference_head(const kernels::AttentionProblem& p, const kernels::AttentionRequest& request,
                             int64_t head) {
  const int64_t kv = head * p.kv_heads / p.query_heads;
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  ReferenceHead r;
  r.weights.assign(size(p.queries * p.keys), 0.0);
  r.out.assign(size(p.queries * p.head_dim), 0.0);
  r.key_mass.assign(size(p.keys), 0.0);
  r.recent_mass.assign(size(p.keys), 0.0);
  r.early_mass.assign(size(std::min(request.early_queries, p.keys)), 0.0);
  r.top_mass.assign(16, 0.0);
  const int64_t bins = std::min(request.map_bins, p.queries);
  r.map.assign(size(bins * bins), 0.0);
  std::vector<double> bin_queries(size(bins), 0.0);
  const int64_t samples = std::min(request.sampled_queries, p.queries);

  for (int64_t i = 0; i < p.queries; ++i) {
    const int64_t position = p.keys - p.queries + i;
    std::vector<int64_t> seen;
    for (int64_t j = 0; j <= position; ++j) {
      if (p.window == 0 || position - j < p.window) seen.push_back(j);
    }
    std::vector<double> a;
    for (const int64_t j : seen) {
      double logit = 0;
      for (int64_t c = 0; c < p.head_dim; ++c) {
        logit += static_cast<double>(p.q.at(head, i)[c]) * static_cast<double>(p.k.at(kv, j)[c]);
      }
      logit *= static_cast<double>(p.scale);
      if (!p.alibi_slopes.empty()) {
        const auto at = [&](int64_t key) {
          return static_cast<double>(p.key_positions.empty() ? key : p.key_positions[size(key)]);
        };
        logit += static_cast<double>(p.alibi_slopes[size(head)]) * (at(j) - at(position));
      }
      if (p.softcap > 0)
        logit = static_cast<double>(p.softcap) * std::tanh(logit / static_cast<double>(p.softcap));
      a.push_back(logit);
    }
    const double top = *std::max_element(a.begin(), a.end());
    for (double& x : a) x = std::exp(x - top);
    const double total = std::accumulate(a.begin(), a.end(), 0.0);
    for (double& x : a) x /= total;

    double entropy = 0, distance = 0, first = 0, low = 0, high = 0;
    for (size_t s = 0; s < seen.size(); ++s) {
      const int64_t j = seen[s];
      r.weights[size(i * p.keys + j)] = a[s];
      r.key_mass[size(j)] += a[s];
      if (i >= p.queries - request.recent_queries) r.recent_mass[size(j)] += a[s];
      if (position < request.early_queries) r.early_mass[size(j)] += a[s];
      entropy -= a[s] > 0 ? a[s] * std::log(a[s]) : 0;
      distance += a[s] * static_cast<double>(position - j);
      first += j < request.first_keys ? a[s] : 0;
      low += a[s] < 0.01 * (1 - 1e-4) / total;
      high += a[s] < 0.01 * (1 + 1e-4) / total;
      for (int64_t c = 0; c < p.head_dim; ++c) {
        r.out[size(i * p.head_dim + c)] += a[s] * static_cast<double>(p.v.at(kv, j)[c]);
      }
      if (bins > 0) r.map[size(i * bins / p.queries * bins + j * bins / p.keys)] += a[s];
    }
    if (bins > 0) bin_queries[size(i * bins / p.queries)] += 1;
    r.entropy.push_back(entropy);
    r.distance.push_back(distance);
    r.first_mass.push_back(first);
    r.sink_mass.push_back(r.weights[size(i * p.keys)]);
    r.self_mass.push_back(r.weights[size(i * p.keys + position)]);
    if (request.watched_key >= 0) r.watched_mass.push_back(r.weights[size(i * p.keys + request.watched_key)]);
    r.small_low.push_back(low / static_cast<double>(seen.size()));
    r.small_high.push_back(high / static_cast<double>(seen.size()));

    std::sort(a.begin(), a.end(), std::greater<>());
    if (request.heaviest_keys > 0) {
      const size_t count = std::min(size(request.heaviest_keys), a.size());
      r.heaviest_mass.push_back(
          std::accumulate(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(count), 0.0));
    }
    for (int64_t s = 0; s < samples; ++s) {
      if ((2 * s + 1) * p.queries / (2 * samples) != i) continue;
      for (size_t b = 0; b < r.top_mass.size(); ++b) {
        const size_t count = std::min(size_t{1} << b, a.size());
        r.top_mass[b] += std::accumulate(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(count), 0.0) /
                         static_cast<double>(samples);
      }
    }
  }
  for (int64_t b = 0; b < bins * bins; ++b) r.map[size(b)] /= bin_queries[size(b / bins)];
  return r;
}

}  // namespace kvviz::test
