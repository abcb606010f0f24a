// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <set>

#include "kvviz/analysis/channel_parts.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

constexpr int64_t kSlice = 64;  // tokens per task

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNone;
}

/// Mean over the layers that have the dimension.
double layer_mean(const std::vector<std::vector<double>>& table, int64_t dimension) {
  double sum = 0, count = 0;
  for (const std::vector<double>& layer : table) {
    if (dimension >= std::ssize(layer)) continue;
    sum += layer[dimension];
    ++count;
  }
  return ratio(sum, count);
}

double variance(const std::vector<double>& values) {
  double mean = 0, sum = 0, count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    mean += value;
    ++count;
  }
  mean /= count;
  for (const double value : values) {
    if (!std::isnan(value)) sum += (value - mean) * (value - mean);
  }
  return ratio(sum, count);
}

/// The layers whose channels the original looked at: at most 5, equally spaced from the first.
std::vector<int> selected_layers(int64_t layers) {
  const int64_t count = std::min<int64_t>(layers, 5), step = std::max<int64_t>(1, layers / count);
  std::vector<int> selected;
  for (int64_t i = 0; i < count; ++i) selected.push_back(static_cast<int>(i * step));
  return selected;
}

double mean_of_two(double a, double b) {
  return (a + b) / 2;
}

template <class Row>
void sort_descending(std::vector<Row>& rows, double Row::*key) {
  std::ranges::stable_sort(rows, std::greater{}, [key](const Row& row) {
    return std::isnan(row.*key) ? -std::numeric_limits<double>::infinity() : row.*key;
  });
}

}  // namespace

LegacyChannelSums::LegacyChannelSums(int64_t dims, int64_t tokens) : dims_(dims), tokens_(tokens) {
  for (Side* side : {&key_, &value_}) {
    side->below.assign(dims, 0.0);
    side->elements.assign(dims, 0.0);
    side->pattern.assign(tokens * dims, 0.0);
    side->pattern_layers.assign(tokens * dims, 0.0);
  }
}

void LegacyChannelSums::add(const LayerData& data, std::span<const HeadChannels> rows) {
  add_side(data.key, rows, &HeadChannels::key, key_);
  add_side(data.value, rows, &HeadChannels::value, value_);
}

void LegacyChannelSums::add_side(const HalfData& half, std::span<const HeadChannels> rows,
                                 ChannelHalf HeadChannels::*member, Side& side) const {
  const auto rows_per_head = static_cast<double>(half.tokens), heads = static_cast<double>(half.heads);
  std::vector<double> importance(half.dim, 1.0);
  for (const HeadChannels& row : rows) {
    for (int64_t d = 0; d < half.dim; ++d) {
      const double sparsity = (row.*member).legacy[d].sparsity;
      importance[d] -= sparsity / heads;
      side.below[d] += sparsity * rows_per_head;
      side.elements[d] += rows_per_head;
    }
  }
  side.importance.push_back(std::move(importance));

  const int64_t offset = tokens_ - half.tokens;
  kernels::parallel_for((half.tokens + kSlice - 1) / kSlice, [&](int64_t slice) {
    const int64_t first = slice * kSlice, last = std::min(first + kSlice, half.tokens);
    for (int64_t h = 0; h < half.heads; ++h) {
      for (int64_t t = first; t < last; ++t) {
        stats::add_magnitudes(half.row(h, t), 1 / heads,
                              std::span(side.pattern).subspan((offset + t) * dims_, half.dim));
      }
    }
    for (int64_t t = first; t < last; ++t) {
      double* layers = side.pattern_layers.data() + (offset + t) * dims_;
      for (int64_t d = 0; d < half.dim; ++d) layers[d] += 1;
    }
  });
}

std::vector<std::vector<double>> LegacyChannelSums::patterns(const Side& side, double& largest) const {
  std::vector<std::vector<double>> table(dims_, std::vector<double>(tokens_, kNone));
  for (int64_t d = 0; d < dims_; ++d) {
    for (int64_t t = 0; t < tokens_; ++t) {
      const int64_t i = t * dims_ + d;
      table[d][t] = ratio(side.pattern[i], side.pattern_layers[i]);
      if (table[d][t] > largest) largest = table[d][t];
    }
  }
  return table;
}

LegacyChannels LegacyChannelSums::finish(std::span<const HeadChannels> rows, double prunable) {
  LegacyChannels result;
  result.k_patterns = patterns(key_, result.k_pattern_max);
  result.v_patterns = patterns(value_, result.v_pattern_max);
  for (int64_t d = 0; d < dims_; ++d) {
    const double k = ratio(key_.below[d], key_.elements[d]), v = ratio(value_.below[d], value_.elements[d]);
    result.dimensions.push_back({d, k, v, mean_of_two(k, v), 1 - k, 1 - v});
    const double ki = layer_mean(key_.importance, d), vi = layer_mean(value_.importance, d);
    result.importance.push_back({d, ki, vi, mean_of_two(ki, vi)});
    const double kv = variance(result.k_patterns[d]), vv = variance(result.v_patterns[d]);
    result.patterns.push_back({d, kv, vv, mean_of_two(kv, vv)});
  }
  sort_descending(result.importance, &LegacyDimensionImportance::combined_importance);
  sort_descending(result.patterns, &LegacyPatternVariance::combined_variance);
  result.selected_layers = selected_layers(std::ssize(key_.importance));
  result.k_importance = std::move(key_.importance);
  result.v_importance = std::move(value_.importance);

  const std::set<int> selected(result.selected_layers.begin(), result.selected_layers.end());
  for (const HeadChannels& row : rows) {
    const auto dims = static_cast<int64_t>(std::max(row.key.legacy.size(), row.value.legacy.size()));
    for (int64_t d = 0; d < dims; ++d) {
      const bool k = d < std::ssize(row.key.legacy) && row.key.legacy[d].sparsity > prunable;
      const bool v = d < std::ssize(row.value.legacy) && row.value.legacy[d].sparsity > prunable;
      result.prunable_keys += k ? 1 : 0;
      result.prunable_values += v ? 1 : 0;
      result.prunable_selected += (k || v) && selected.contains(row.layer) ? 1 : 0;
    }
    result.key_channels += std::ssize(row.key.legacy);
    result.value_channels += std::ssize(row.value.legacy);
  }
  return result;
}

}  // namespace kvviz::analysis
