// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/policy/policy.hpp"

namespace kvviz::test {

/// Queries, keys and values of one layer, [heads, tokens, head_dim]. Rotary tables are there when the keys
/// are rotated.
struct Text {
  kernels::ScanShape shape;
  int64_t tokens = 0;
  std::vector<float> q, k, v, q_pre;
  std::vector<float> cosine, sine;
  kernels::RotaryTable rotary() const {
    return {.cosine = cosine.data(),
            .sine = sine.data(),
            .positions = static_cast<int64_t>(cosine.size()) / (shape.head_dim / 2),
            .pairs = shape.head_dim / 2};
  }
};

struct TextSize {
  int64_t query_heads = 4, kv_heads = 2, head_dim = 16, tokens = 96;
};

/// Normal numbers; logits have a standard deviation of about 2, norms of keys and values differ.
Text random_text(const TextSize& size, uint64_t seed);
/// The same with q = R q_pre at the query's position, half-split pairs, theta 100.
Text rotated_text(const TextSize& size, uint64_t seed);
/// One head whose logits are `logits` [tokens x tokens] and whose values are `values` [tokens][any].
Text text_of_logits(const std::vector<std::vector<double>>& logits,
                    const std::vector<std::vector<double>>& values);

struct RunOptions {
  int64_t budget = 8;
  int64_t prompt = 0;
  policy::PolicyOptions policy = {};
  int64_t layer = 0, layers = 1;
  std::vector<std::vector<double>> totals = {};  // of clairvoyant policies
};

/// What EvictingScan made of a text under a policy.
struct Run {
  std::vector<std::vector<kernels::Eviction>> log;  // of each slot set
  std::vector<std::vector<int32_t>> kept;
  std::vector<int64_t> peak;
  std::vector<kernels::HeadComparison> compared;  // of each query head
  std::vector<float> out;
};
Run run(const Text& text, std::vector<kernels::DecisionGroup> groups, const RunOptions& options);
Run run(const Text& text, std::string_view policy, const RunOptions& options);

/// Decision groups of a policy for a text.
std::vector<kernels::DecisionGroup> groups_of(const Text& text, std::string_view policy,
                                              const RunOptions& options);

}  // namespace kvviz::test
