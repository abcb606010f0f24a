// SPDX-License-Identifier: MIT
#include "kvviz/attention/attention.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>

#include <algorithm>
#include <limits>

#include "kvviz/attention/attention_problem.hpp"
#include "kvviz/attention/device_attention.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

// Fewer are bound by reading the keys and values, which would all have to go to the device first.
constexpr int64_t fewest_device_queries = 32;

at::Tensor inner_contiguous(const at::Tensor& x) {
  return x.stride(-1) == 1 ? x : x.contiguous();
}

kernels::HeadsView view(const at::Tensor& x) {
  return {x.data_ptr<float>(), x.stride(1), x.stride(2)};
}

// Every KV head once for each of its query heads.
at::Tensor shared_by(const at::Tensor& x, int64_t group) {
  if (group == 1) return x;
  return x.unsqueeze(2).expand({x.size(0), x.size(1), group, x.size(2), x.size(3)}).flatten(1, 2);
}

// [queries, keys], true where the key is hidden from the query.
at::Tensor hidden_keys(int64_t queries, int64_t keys, int64_t window) {
  const at::Tensor key = at::arange(keys);
  const at::Tensor query = at::arange(keys - queries, keys).unsqueeze(1);
  at::Tensor hidden = key.gt(query);
  if (window > 0) hidden = hidden.logical_or(query.sub(key).ge(window));
  return hidden;
}

// ALiBi: [query_heads, queries, keys].
at::Tensor distance_bias(const AttentionSpec& spec, int64_t queries, int64_t keys,
                         const at::TensorOptions& options) {
  at::Tensor key = at::arange(keys);
  if (!spec.key_positions.empty()) std::ranges::copy(spec.key_positions, key.data_ptr<int64_t>());
  const at::Tensor distance = key.sub(key.narrow(0, keys - queries, queries).unsqueeze(1));
  const at::Tensor slope = at::empty({std::ssize(spec.alibi_slopes), 1, 1}, at::kFloat);
  std::ranges::copy(spec.alibi_slopes, slope.data_ptr<float>());
  return slope.to(options).mul(distance.to(options));
}

}  // namespace

AttentionSpec of_heads(const AttentionSpec& spec, std::span<const int64_t> query_heads) {
  AttentionSpec some = spec;
  if (spec.alibi_slopes.empty()) return some;
  some.alibi_slopes.clear();
  for (const int64_t head : query_heads)
    some.alibi_slopes.push_back(spec.alibi_slopes[static_cast<size_t>(head)]);
  return some;
}

kernels::AttentionProblem attention_problem(const at::Tensor& q, const at::Tensor& k,
                                            const AttentionSpec& spec) {
  return {.query_heads = q.size(1),
          .kv_heads = k.size(1),
          .head_dim = q.size(3),
          .queries = q.size(2),
          .keys = k.size(2),
          .scale = static_cast<float>(spec.scale),
          .softcap = static_cast<float>(spec.softcap),
          .window = spec.window,
          .alibi_slopes = spec.alibi_slopes,
          .key_positions = spec.key_positions};
}

at::Tensor attention_output(const at::Tensor& q, const at::Tensor& v) {
  return at::empty({1, q.size(2), q.size(1), v.size(3)}, at::kFloat).transpose(1, 2);
}

at::Tensor streaming_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionSpec& spec, const kernels::AttentionRequest& request,
                               std::vector<kernels::HeadAttention>* statistics) {
  require<std::logic_error>(q.size(0) == 1, "streaming attention takes one sequence at a time, got ",
                            q.size(0));
  if (!spec.device.is_cpu() && q.size(2) >= fewest_device_queries)
    return device_attention(q, k, v, spec, request, spec.device, statistics);
  const at::Tensor query = inner_contiguous(q), key = inner_contiguous(k), value = inner_contiguous(v);
  const at::Tensor out = attention_output(q, v);
  kernels::AttentionProblem problem = attention_problem(q, k, spec);
  problem.q = view(query);
  problem.k = view(key);
  problem.v = view(value);
  problem.out = {out.data_ptr<float>(), out.stride(1), out.stride(2)};
  auto measured = kernels::attention(problem, request);
  if (statistics != nullptr) *statistics = std::move(measured);
  return out;
}

at::Tensor eager_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionSpec& spec, at::Tensor* weights) {
  const int64_t group = q.size(1) / k.size(1);
  const at::Tensor key = shared_by(k, group);
  const at::Tensor value = shared_by(v, group);
  at::Tensor logits = at::matmul(q.mul(spec.scale), key.transpose(2, 3));
  if (!spec.alibi_slopes.empty())
    logits = logits.add(distance_bias(spec, q.size(2), k.size(2), logits.options()));
  if (spec.softcap > 0) logits = logits.div(spec.softcap).tanh().mul(spec.softcap);
  logits = logits.masked_fill(hidden_keys(q.size(2), k.size(2), spec.window),
                              -std::numeric_limits<double>::infinity());
  const at::Tensor probability = at::softmax(logits, -1);
  if (weights != nullptr) *weights = probability;
  return at::matmul(probability, value);
}

}  // namespace kvviz
