// SPDX-License-Identifier: MIT
#include "unit/policy/text.hpp"

#include <cmath>
#include <random>

namespace kvviz::test {
namespace {

std::vector<float> normal(int64_t count, double deviation, std::mt19937_64& random) {
  std::normal_distribution<double> draw(0, deviation);
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = static_cast<float>(draw(random));
  return numbers;
}

kernels::HeadsView heads(const std::vector<float>& data, const Text& text) {
  return {data.data(), text.tokens * text.shape.head_dim, text.shape.head_dim};
}

}  // namespace

Text random_text(const TextSize& size, uint64_t seed) {
  std::mt19937_64 random(seed);
  const int64_t queries = size.query_heads * size.tokens * size.head_dim;
  const int64_t keys = size.kv_heads * size.tokens * size.head_dim;
  Text text{.shape = {.query_heads = size.query_heads,
                      .kv_heads = size.kv_heads,
                      .head_dim = size.head_dim,
                      .scale = static_cast<float>(2 / std::sqrt(static_cast<double>(size.head_dim)))},
            .tokens = size.tokens,
            .q = normal(queries, 1, random),
            .k = normal(keys, 1, random),
            .v = normal(keys, 1, random)};
  return text;
}

Text rotated_text(const TextSize& size, uint64_t seed) {
  Text text = random_text(size, seed);
  const int64_t pairs = size.head_dim / 2, positions = size.tokens + 40;
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t p = 0; p < pairs; ++p) {
      const double angle = static_cast<double>(position) *
                           std::pow(100.0, -static_cast<double>(p) / static_cast<double>(pairs));
      text.cosine.push_back(static_cast<float>(std::cos(angle)));
      text.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  // A mean of its own for every channel: what is expected of a query is not nothing.
  text.q_pre = text.q;
  for (size_t i = 0; i < text.q_pre.size(); ++i)
    text.q_pre[i] += std::sin(static_cast<float>(i % static_cast<size_t>(size.head_dim)));
  for (int64_t row = 0; row < size.query_heads * size.tokens; ++row) {
    for (int64_t p = 0; p < pairs; ++p) {
      const auto a = static_cast<size_t>(row * size.head_dim + p), b = a + static_cast<size_t>(pairs);
      const auto at = static_cast<size_t>(row % size.tokens * pairs + p);
      text.q[a] = text.q_pre[a] * text.cosine[at] - text.q_pre[b] * text.sine[at];
      text.q[b] = text.q_pre[b] * text.cosine[at] + text.q_pre[a] * text.sine[at];
    }
  }
  return text;
}

Text text_of_logits(const std::vector<std::vector<double>>& logits,
                    const std::vector<std::vector<double>>& values) {
  const size_t tokens = logits.size();
  Text text{.shape = {.query_heads = 1, .kv_heads = 1, .head_dim = static_cast<int64_t>(tokens), .scale = 1},
            .tokens = static_cast<int64_t>(tokens)};
  text.k.assign(tokens * tokens, 0);
  text.v.assign(tokens * tokens, 0);
  for (size_t i = 0; i < tokens; ++i) {
    for (size_t j = 0; j < tokens; ++j) text.q.push_back(static_cast<float>(logits[i][j]));
    text.k[i * tokens + i] = 1;
    for (size_t c = 0; c < values[i].size(); ++c) text.v[i * tokens + c] = static_cast<float>(values[i][c]);
  }
  return text;
}

std::vector<kernels::DecisionGroup> groups_of(const Text& text, std::string_view policy,
                                              const RunOptions& options) {
  const kernels::RotaryTable rotary = text.rotary();
  // The rules keep the address of the table.
  static thread_local kernels::RotaryTable table;
  table = rotary;
  return policy::decision_groups(policy::find_policy(policy), options.policy, text.shape,
                                 {.layer = options.layer,
                                  .layers = options.layers,
                                  .budget = options.budget,
                                  .tokens = text.tokens,
                                  .rotary = text.cosine.empty() ? nullptr : &table},
                                 options.totals);
}

Run run(const Text& text, std::vector<kernels::DecisionGroup> groups, const RunOptions& options) {
  Run result;
  result.out.resize(text.q.size());
  kernels::EvictingScan scan(
      text.shape, std::move(groups),
      {.aggregate = options.policy.aggregate, .prompt = options.prompt, .compare = true});
  const int64_t dim = text.shape.head_dim;
  scan.advance({.tokens = text.tokens,
                .q = heads(text.q, text),
                .k = heads(text.k, text),
                .v = heads(text.v, text),
                .query_pre_rope = text.q_pre.empty() ? kernels::HeadsView{} : heads(text.q_pre, text),
                .out = {result.out.data(), text.tokens * dim, dim}});
  for (const kernels::SlotSet* set : scan.sets()) {
    result.log.emplace_back(set->log().begin(), set->log().end());
    result.kept.push_back(set->kept_positions());
    result.peak.push_back(set->peak());
  }
  result.compared.assign(scan.comparisons().begin(), scan.comparisons().end());
  return result;
}

Run run(const Text& text, std::string_view policy, const RunOptions& options) {
  return run(text, groups_of(text, policy, options), options);
}

}  // namespace kvviz::test
