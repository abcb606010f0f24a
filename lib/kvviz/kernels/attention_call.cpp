// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention_call.hpp"

#include <cassert>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/top_mass.hpp"

namespace kvviz::kernels {
namespace {

void check(const AttentionProblem& p, const AttentionRequest& request) {
  assert(p.kv_heads > 0 && p.query_heads % p.kv_heads == 0 && p.head_dim > 0);
  assert(p.queries >= 0 && p.queries <= p.keys && p.window >= 0);
  assert(p.alibi_slopes.empty() || std::ssize(p.alibi_slopes) == p.query_heads);
  assert(p.key_positions.empty() || std::ssize(p.key_positions) == p.keys);
  static_cast<void>(p);
  for (const int64_t head : request.exact_heads) {
    require<UsageError>(head >= 0 && head < p.query_heads, "[attention] exact head ", head,
                        ": this layer has heads 0..", p.query_heads - 1);
  }
}

std::vector<int64_t> equally_spaced(int64_t queries, int64_t wanted) {
  const int64_t count = std::clamp<int64_t>(wanted, 0, queries);
  std::vector<int64_t> rows;
  for (int64_t s = 0; s < count; ++s) rows.push_back((2 * s + 1) * queries / (2 * count));
  return rows;
}

/// First index of each of `bins` bins of [0, size), and the end; index i is in bin i * bins / size.
std::vector<int64_t> bin_begins(int64_t bins, int64_t size) {
  std::vector<int64_t> begins;
  for (int64_t bin = 0; bin <= bins; ++bin)
    begins.push_back((bin * size + bins - 1) / std::max<int64_t>(bins, 1));
  return begins;
}

}  // namespace

AttentionCall attention_call(const AttentionProblem& problem, const AttentionRequest& request) {
  check(problem, request);
  const int64_t bins = std::clamp<int64_t>(request.map_bins, 0, problem.queries);
  return {.problem = problem,
          .request = request,
          .simd = attention_simd(),
          .sampled_queries = equally_spaced(problem.queries, request.sampled_queries),
          .map_bins = bins,
          .query_bin_begin = bin_begins(bins, problem.queries),
          .key_bin_begin = bin_begins(bins, problem.keys)};
}

HeadAttention empty_sums(const AttentionCall& call) {
  HeadAttention sums;
  sums.key_mass.resize(static_cast<size_t>(call.problem.keys));
  sums.recent_mass.resize(static_cast<size_t>(call.problem.keys));
  sums.early_mass.resize(
      static_cast<size_t>(std::clamp<int64_t>(call.request.early_queries, 0, call.problem.keys)));
  sums.top_mass.resize(TopMass::counts);
  sums.map.resize(static_cast<size_t>(call.map_bins * call.map_bins));
  return sums;
}

HeadAttention empty_statistics(const AttentionCall& call, int64_t head) {
  const auto queries = static_cast<size_t>(call.problem.queries);
  HeadAttention statistics = empty_sums(call);
  for (auto* row : {&statistics.entropy, &statistics.distance, &statistics.first_mass, &statistics.sink_mass,
                    &statistics.self_mass, &statistics.small_share}) {
    row->resize(queries);
  }
  if (call.request.watched_key >= 0) statistics.watched_mass.resize(queries);
  if (call.request.heaviest_keys > 0) statistics.heaviest_mass.resize(queries);
  const auto& exact = call.request.exact_heads;
  if (std::find(exact.begin(), exact.end(), head) != exact.end()) {
    statistics.exact.resize(queries * static_cast<size_t>(call.problem.keys));
  }
  return statistics;
}

void finish(const AttentionCall& call, HeadAttention& head) {
  for (int64_t query = 0; query < std::ssize(head.entropy); ++query) {
    const Span seen = visible_keys(call.problem, query);
    float& entropy = head.entropy[static_cast<size_t>(query)];
    if (seen.end - seen.begin == 1 && std::isfinite(entropy)) entropy = 0;  // without rounding
  }
  for (double& mass : head.top_mass)
    mass /= static_cast<double>(std::max<size_t>(call.sampled_queries.size(), 1));
  const auto bins = static_cast<size_t>(call.map_bins);
  const std::vector<int64_t>& begins = call.query_bin_begin;
  for (size_t i = 0; i < bins * bins; ++i) {
    head.map[i] /= static_cast<double>(begins[i / bins + 1] - begins[i / bins]);
  }
}

}  // namespace kvviz::kernels
