// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kvviz/kernels/attention.hpp"
#include "kvviz/kernels/attention_simd.hpp"

namespace kvviz::kernels {

/// The keys that a query sees.
inline Span visible_keys(const AttentionProblem& problem, int64_t query) {
  const int64_t end = problem.keys - problem.queries + query + 1;
  return {problem.window > 0 ? std::max<int64_t>(end - problem.window, 0) : 0, end};
}

/// One computation of attention, as all its parts see it; borrows problem and request.
struct AttentionCall {
  const AttentionProblem& problem;
  const AttentionRequest& request;
  const AttentionSimd& simd;
  std::vector<int64_t> sampled_queries;  ///< ascending
  int64_t map_bins = 0;
  std::vector<int64_t> query_bin_begin, key_bin_begin;  ///< [map_bins + 1]
};

/// Throws UsageError when an exact head does not exist.
AttentionCall attention_call(const AttentionProblem& problem, const AttentionRequest& request);

/// Statistics of a head of their full size, all zero; sums: those that are added up over queries alone.
HeadAttention empty_sums(const AttentionCall& call);
HeadAttention empty_statistics(const AttentionCall& call, int64_t head);

/// Sums over all queries become means where the result is a mean.
void finish(const AttentionCall& call, HeadAttention& head);

}  // namespace kvviz::kernels
