// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/attention_parts.hpp"
#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {

int64_t visible_keys(const AttentionLayer& layer, int64_t query) {
  const int64_t position = layer.keys - layer.queries + query;
  return layer.window > 0 ? std::min(position + 1, layer.window) : position + 1;
}

std::vector<int64_t> exposures(const AttentionLayer& layer) {
  std::vector<int64_t> counts(layer.keys);
  for (int64_t key = 0; key < layer.keys; ++key) {
    const int64_t first = std::max(key, layer.keys - layer.queries);
    const int64_t last = layer.window > 0 ? std::min(layer.keys - 1, key + layer.window - 1) : layer.keys - 1;
    counts[key] = std::max<int64_t>(last - first + 1, 0);
  }
  return counts;
}

void fill_keys(const AttentionLayer& layer, const kernels::HeadAttention& measured,
               std::span<const int64_t> exposed, AttentionHead& head) {
  head.received.assign(layer.keys, kNone);
  for (int64_t key = 0; key < layer.keys; ++key) {
    if (exposed[key] > 0) head.received[key] = measured.key_mass[key] / static_cast<double>(exposed[key]);
  }
  if (layer.value_norms.empty()) return;
  const std::vector<double>& norms = layer.value_norms[head.kv_head];
  head.value_weighted.resize(layer.keys);
  std::ranges::transform(head.received, norms, head.value_weighted.begin(), std::multiplies{});
}

double aggregate(const std::vector<double>& values, GqaAggregate how) {
  double sum = 0, most = -std::numeric_limits<double>::infinity(), count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    most = std::max(most, value);
    ++count;
  }
  if (count == 0) return kNone;
  if (how == GqaAggregate::max) return most;
  return how == GqaAggregate::mean ? sum / count : sum;
}

std::vector<double> aggregate(const std::vector<const std::vector<double>*>& vectors, GqaAggregate how) {
  if (vectors.empty()) return {};
  std::vector<double> result, column(vectors.size());
  for (size_t i = 0; i < vectors.front()->size(); ++i) {
    std::ranges::transform(vectors, column.begin(), [i](const auto* v) { return (*v)[i]; });
    result.push_back(aggregate(column, how));
  }
  return result;
}

std::vector<double> mean_from_the_end(const std::vector<const std::vector<double>*>& vectors) {
  size_t length = 0;
  for (const auto* v : vectors) length = std::max(length, v->size());
  std::vector<double> sums(length, 0.0), counts(length, 0.0);
  for (const auto* v : vectors) {
    const size_t offset = length - v->size();
    for (size_t i = 0; i < v->size(); ++i) {
      if (std::isnan((*v)[i])) continue;
      sums[offset + i] += (*v)[i];
      ++counts[offset + i];
    }
  }
  for (size_t i = 0; i < length; ++i) sums[i] = counts[i] > 0 ? sums[i] / counts[i] : kNone;
  return sums;
}

std::vector<int64_t> ranking(const AttentionResult& result, std::span<const AttentionLayer> layers,
                             int64_t least_exposure) {
  const auto keys = std::ssize(result.received);
  std::vector<int64_t> exposed(result.received.size());
  for (const AttentionLayer& layer : layers) {
    const std::vector<int64_t> counts = exposures(layer);
    for (int64_t key = 0; key < std::ssize(counts); ++key) {
      int64_t& most = exposed[keys - std::ssize(counts) + key];
      most = std::max(most, counts[key]);
    }
  }
  const int64_t most = exposed.empty() ? 0 : std::ranges::max(exposed);
  const int64_t least = std::min(least_exposure, std::max<int64_t>(most / 4, 1));
  std::vector<int64_t> order(result.received.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int64_t key) { return std::isnan(result.received[key]) || exposed[key] < least; });
  std::ranges::stable_sort(order, std::greater{}, [&](int64_t key) { return result.received[key]; });
  return order;
}

std::vector<TopKey> heaviest(const AttentionResult& result, int64_t count) {
  std::vector<TopKey> top;
  for (int64_t i = 0; i < std::min<int64_t>(count, std::ssize(result.ranking)); ++i) {
    const int64_t key = result.ranking[i];
    top.push_back(
        {key, result.received[key], result.value_weighted.empty() ? kNone : result.value_weighted[key]});
  }
  return top;
}

TokenAttention token_attention(const AttentionResult& result) {
  TokenAttention tables;
  const bool weighted =
      std::ranges::none_of(result.layers, [](const auto& row) { return row.value_weighted.empty(); });
  for (const AttentionLayerRow& row : result.layers) {
    tables.received.push_back(row.received);
    if (weighted) tables.value_weighted.push_back(row.value_weighted);
  }
  tables.ranking = result.ranking;
  return tables;
}

std::vector<std::vector<double>> value_norms(const LayerKv& layer) {
  const LayerData data = load(layer);
  std::vector<std::vector<double>> norms(data.value.heads, std::vector<double>(data.value.tokens));
  kernels::parallel_for(data.value.heads, [&](int64_t h) {
    for (int64_t t = 0; t < data.value.tokens; ++t)
      norms[h][t] = std::sqrt(stats::row_sums(data.value.row(h, t), 0).sum_sq);
  });
  return norms;
}

}  // namespace kvviz::analysis
