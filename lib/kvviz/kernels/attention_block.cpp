// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention_block.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kvviz/kernels/few_rows_simd.hpp"

namespace kvviz::kernels {
namespace {

constexpr int64_t key_block = 256;  // columns whose weights and values stay in the fast caches

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Of the `heaviest.size()` largest weights; `heaviest` is a buffer. Most weights are below the least of those
// found so far, and cost a comparison.
double heaviest_sum(std::span<const float> weights, std::span<float> heaviest) {
  std::ranges::fill(heaviest, 0.0F);
  for (const float weight : weights) {
    if (weight <= heaviest.back()) continue;
    size_t at = heaviest.size() - 1;
    for (; at > 0 && heaviest[at - 1] < weight; --at) heaviest[at] = heaviest[at - 1];
    heaviest[at] = weight;
  }
  return std::accumulate(heaviest.begin(), heaviest.end(), 0.0);
}

}  // namespace

struct BlockAttention::Block {
  const AttentionCall& call;
  const AttentionTask& task;
  std::span<const HeadSinks> sinks;
  Span queries;       // of every head of the task
  int64_t first_key;  // key of column 0
  Strip strip;

  int64_t per_head() const { return queries.end - queries.begin; }
  int64_t rows() const { return task.heads * per_head(); }
  int64_t query(int64_t row) const { return queries.begin + row % per_head(); }
  int64_t head(int64_t row) const { return task.first_head + row / per_head(); }
  int64_t width() const { return visible_keys(call.problem, queries.end - 1).end - first_key; }
};

void BlockAttention::run(const AttentionCall& call, const AttentionTask& task,
                         std::span<const HeadSinks> sinks) {
  const AttentionProblem& problem = call.problem;
  const bool statistics = call.request.statistics;
  const int64_t out_stride = round_up(problem.head_dim, 16);
  const int64_t step = task.heads == 1 ? block_rows : task.queries.end - task.queries.begin;
  for (int64_t query = task.queries.begin; query < task.queries.end; query += step) {
    const Span queries{query, std::min(query + step, task.queries.end)};
    const int64_t hidden = visible_keys(problem, query).begin - task.keys.first_key;
    const int64_t first_key = task.keys.first_key + hidden / call.simd.panel * call.simd.panel;
    Block block{call, task, sinks, queries, first_key, {}};
    const int64_t group_rows = round_up(block.rows(), call.simd.row_group);
    // A stride that is a multiple of 4 KB would map all rows to the same cache sets.
    const int64_t stride = round_up(block.width(), 64) + 16;
    fill_visible(block);
    block.strip = {strip_.at_least(group_rows * stride), stride, block.rows(), visible_.data()};
    fill_logits(block);
    if (!problem.alibi_slopes.empty()) add_distances(block);
    if (problem.softcap > 0) call.simd.softcap(block.strip, problem.softcap);
    row_sums_.resize(static_cast<size_t>(block.rows()));
    inverse_.resize(row_sums_.size());
    call.simd.softmax(block.strip, row_sums_.data(), statistics);
    for (size_t r = 0; r < inverse_.size(); ++r) inverse_[r] = static_cast<float>(1 / row_sums_[r].weight);

    if (statistics) fill_segments(block);
    float* const out = out_.at_least(group_rows * out_stride);
    std::fill_n(out, group_rows * out_stride, 0.0F);
    const float* const value = task.keys.value + (first_key - task.keys.first_key) * task.keys.value_stride;
    for (int64_t column = 0; column < block.width(); column += key_block) {
      const Span columns{column, std::min(column + key_block, block.width())};
      if (statistics) add_column_sums(block, columns);
      call.simd.weighted_values(block.strip, columns, value, task.keys.value_stride, problem.head_dim, out);
    }
    write_output(block, out);
    if (statistics) add_row_statistics(block);
  }
}

void BlockAttention::fill_visible(const Block& block) {
  visible_.resize(static_cast<size_t>(block.rows()));
  for (int64_t row = 0; row < block.rows(); ++row) {
    const Span keys = visible_keys(block.call.problem, block.query(row));
    visible_[static_cast<size_t>(row)] = {keys.begin - block.first_key, keys.end - block.first_key};
  }
}

void BlockAttention::fill_logits(const Block& block) {
  const AttentionProblem& problem = block.call.problem;
  const int64_t dim = problem.head_dim;
  if (block.task.keys.panels == nullptr) {
    float* const queries = queries_.at_least(block.rows() * dim);
    for (int64_t row = 0; row < block.rows(); ++row) {
      const float* const from = problem.q.at(block.head(row), block.query(row));
      for (int64_t c = 0; c < dim; ++c) queries[row * dim + c] = from[c] * problem.scale;
    }
    const int64_t kv_head = block.task.first_head / (problem.query_heads / problem.kv_heads);
    for (int64_t column = 0; column < block.width(); column += key_block) {
      few_rows_product({.x = queries,
                        .rows = block.rows(),
                        .in = dim,
                        .w = problem.k.at(kv_head, block.first_key + column),
                        .w_stride = problem.k.token_stride,
                        .b = nullptr,
                        .y = block.strip.data + column,
                        .out = std::min(key_block, block.width() - column),
                        .y_stride = block.strip.stride});
    }
    for (int64_t row = 0; row < block.rows(); ++row) {
      float* const logits = block.strip.data + row * block.strip.stride;
      for (int64_t c = 0; c < block.width(); ++c) logits[c] += 0 * logits[c];  // NaN where infinite
    }
    return;
  }
  const int64_t group = block.call.simd.row_group;
  float* const queries = queries_.at_least(round_up(block.rows(), group) * dim);
  std::fill_n(queries, round_up(block.rows(), group) * dim, 0.0F);
  for (int64_t row = 0; row < block.rows(); ++row) {
    const float* const from = problem.q.at(block.head(row), block.query(row));
    float* const to = queries + row / group * group * dim + row % group;
    for (int64_t c = 0; c < dim; ++c) to[c * group] = from[c] * problem.scale;
  }
  const float* const panels = block.task.keys.panels + (block.first_key - block.task.keys.first_key) * dim;
  block.call.simd.scores(block.strip, queries, panels, dim);
}

void BlockAttention::add_distances(const Block& block) {
  const AttentionProblem& problem = block.call.problem;
  const int64_t width = block.width();
  const auto place = [&](int64_t key) {
    return problem.key_positions.empty() ? key : problem.key_positions[static_cast<size_t>(key)];
  };
  distances_.start(width);
  for (int64_t column = 0; column < width; ++column)
    distances_.keys()[column] = static_cast<int32_t>(place(block.first_key + column));
  for (int64_t row = 0; row < block.rows(); ++row)
    distances_.add_row(problem.alibi_slopes[static_cast<size_t>(block.head(row))],
                       place(problem.keys - problem.queries + block.query(row)));
  block.call.simd.add_distances(block.strip, distances_.bias());
}

void BlockAttention::fill_segments(const Block& block) {
  const AttentionProblem& problem = block.call.problem;
  const int64_t bins = block.call.map_bins;
  const auto bin = [&](int64_t query) { return bins > 0 ? query * bins / problem.queries : 0; };
  const auto recent = [&](int64_t query) {
    return query >= problem.queries - block.call.request.recent_queries;
  };
  const auto early = [&](int64_t query) {
    return problem.keys - problem.queries + query < block.call.request.early_queries;
  };
  segments_.clear();
  for (int64_t row = 0; row < block.rows(); ++row) {
    const int64_t query = block.query(row), head = row / block.per_head();
    const Span seen = visible_[static_cast<size_t>(row)];
    if (segments_.empty() || segments_.back().head != head || segments_.back().bin != bin(query) ||
        segments_.back().recent != recent(query) || segments_.back().early != early(query)) {
      segments_.push_back({{row, row}, seen, head, bin(query), recent(query), early(query)});
    }
    segments_.back().rows.end = row + 1;
    segments_.back().columns.end = seen.end;
  }
}

void BlockAttention::add_column_sums(const Block& block, Span columns) {
  const int64_t bins = block.call.map_bins, keys = block.call.problem.keys;
  float* const sums = column_sums_.at_least(key_block + 16);
  for (const Segment& segment : segments_) {
    const Span seen{std::max(columns.begin, segment.columns.begin / 16 * 16),
                    std::min(columns.end, segment.columns.end)};
    if (seen.begin >= seen.end) continue;
    block.call.simd.column_sums(block.strip, segment.rows, seen, inverse_.data(), sums);
    HeadAttention& head = *block.sinks[static_cast<size_t>(segment.head)].sums;
    const int64_t first = block.first_key + seen.begin, count = seen.end - seen.begin;
    double* const key_mass = head.key_mass.data() + first;
    for (int64_t j = 0; j < count; ++j) key_mass[j] += static_cast<double>(sums[j]);
    if (segment.recent) {
      double* const recent_mass = head.recent_mass.data() + first;
      for (int64_t j = 0; j < count; ++j) recent_mass[j] += static_cast<double>(sums[j]);
    }
    if (segment.early) {
      double* const early_mass = head.early_mass.data() + first;
      for (int64_t j = 0; j < count; ++j) early_mass[j] += static_cast<double>(sums[j]);
    }
    if (bins == 0) continue;
    const std::vector<int64_t>& begins = block.call.key_bin_begin;
    auto bin = static_cast<size_t>(first * bins / keys);
    for (int64_t j = 0; j < count; ++bin) {
      const int64_t bin_end = std::min(begins[bin + 1] - first, count);
      double mass = 0;
      for (; j < bin_end; ++j) mass += static_cast<double>(sums[j]);
      head.map[static_cast<size_t>(segment.bin * bins) + bin] += mass;
    }
  }
}

void BlockAttention::add_row_statistics(const Block& block) {
  const AttentionProblem& problem = block.call.problem;
  const AttentionRequest& request = block.call.request;
  const auto& sampled = block.call.sampled_queries;
  for (int64_t row = 0; row < block.rows(); ++row) {
    const auto [head, sums_head] = block.sinks[static_cast<size_t>(row / block.per_head())];
    const RowSums& sums = row_sums_[static_cast<size_t>(row)];
    const auto [begin, end] = visible_[static_cast<size_t>(row)];
    const float* const weights = block.strip.data + row * block.strip.stride;
    const int64_t query = block.query(row);
    const auto at = static_cast<size_t>(query);
    const double inverse = 1 / sums.weight;
    // max(x, 0) in this order keeps NaN.
    head->entropy[at] = static_cast<float>(std::max(std::log(sums.weight) - sums.log * inverse, 0.0));
    head->distance[at] = static_cast<float>(std::max(sums.distance * inverse, 0.0));
    head->small_share[at] = std::isnan(sums.weight)
                                ? std::numeric_limits<float>::quiet_NaN()
                                : static_cast<float>(sums.small) / static_cast<float>(end - begin);
    double first = 0;
    for (int64_t c = begin; c < std::min(end, request.first_keys - block.first_key); ++c) first += weights[c];
    head->first_mass[at] = static_cast<float>(first * inverse);
    head->sink_mass[at] = block.first_key + begin == 0 ? static_cast<float>(weights[0] * inverse) : 0.0F;
    head->self_mass[at] = static_cast<float>(weights[end - 1] * inverse);
    if (const int64_t watched = request.watched_key - block.first_key; !head->watched_mass.empty())
      head->watched_mass[at] =
          watched >= begin && watched < end ? static_cast<float>(weights[watched] * inverse) : 0.0F;
    if (!head->heaviest_mass.empty()) {
      heaviest_.resize(static_cast<size_t>(request.heaviest_keys));
      const std::span<const float> seen{weights + begin, static_cast<size_t>(end - begin)};
      // A row that is not finite has an inverse that is none.
      head->heaviest_mass[at] = static_cast<float>(heaviest_sum(seen, heaviest_) * inverse);
    }
    if (std::binary_search(sampled.begin(), sampled.end(), query)) {
      top_mass_.add({weights + begin, static_cast<size_t>(end - begin)}, inverse, sums_head->top_mass);
    }
    if (!head->exact.empty()) {
      float* const exact = head->exact.data() + query * problem.keys + block.first_key;
      const auto factor = static_cast<float>(inverse);
      for (int64_t c = begin; c < end; ++c) exact[c] = weights[c] * factor;
    }
  }
}

void BlockAttention::write_output(const Block& block, const float* out) const {
  const AttentionProblem& problem = block.call.problem;
  const int64_t out_stride = round_up(problem.head_dim, 16);
  for (int64_t row = 0; row < block.rows(); ++row) {
    float* const to = problem.out.at(block.head(row), block.query(row));
    const float factor = inverse_[static_cast<size_t>(row)];
    for (int64_t c = 0; c < problem.head_dim; ++c) to[c] = out[row * out_stride + c] * factor;
  }
}

}  // namespace kvviz::kernels
