// SPDX-License-Identifier: MIT
#include "kvviz/attention/device_attention.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "kvviz/attention/attention_problem.hpp"
#include "kvviz/kernels/attention_call.hpp"
#include "kvviz/kernels/top_mass.hpp"

namespace kvviz {
namespace {

using kernels::AttentionCall;
using kernels::HeadAttention;
using kernels::Span;

constexpr int64_t block_floats = int64_t{1} << 25;

int64_t size_of(Span span) {
  return span.end - span.begin;
}

/// [heads, queries of a block, keys that one of them sees], on the device.
struct Block {
  Span queries, keys;
  at::Tensor distance;  ///< [queries, keys] position of the query - that of the key, by rows
  at::Tensor hidden;    ///< [queries, keys]
  at::Tensor shifted;   ///< logit - the row's maximum
  at::Tensor exponent;  ///< exp of that, 0 where hidden
  at::Tensor sum;       ///< [heads, queries, 1] of the exponents
};

Span keys_of(const AttentionCall& call, Span queries) {
  return {kernels::visible_keys(call.problem, queries.begin).begin,
          kernels::visible_keys(call.problem, queries.end - 1).end};
}

// [heads, queries, keys]
at::Tensor distance_bias(const AttentionSpec& spec, const Block& block, int64_t first_query) {
  const at::TensorOptions floats = block.distance.options().dtype(at::kFloat);
  const at::Tensor slope = at::tensor(at::ArrayRef<float>(spec.alibi_slopes)).to(floats).view({-1, 1, 1});
  at::Tensor distance = block.distance;
  if (!spec.key_positions.empty()) {
    const auto places = [&](int64_t first, Span span) {
      const auto some = spec.key_positions.subspan(static_cast<size_t>(first + span.begin),
                                                   static_cast<size_t>(size_of(span)));
      return at::tensor(at::ArrayRef<int32_t>(some.data(), some.size())).to(distance.device());
    };
    distance = places(first_query, block.queries).unsqueeze(1).sub(places(0, block.keys));
  }
  return slope.mul(distance.neg().to(at::kFloat));
}

Block softmax_block(const AttentionCall& call, const AttentionSpec& spec, Span queries,
                    const at::Tensor& query, const at::Tensor& key) {
  const kernels::AttentionProblem& p = call.problem;
  Block block{.queries = queries, .keys = keys_of(call, queries)};
  const int64_t rows = size_of(queries), width = size_of(block.keys), first_query = p.keys - p.queries;
  const at::TensorOptions whole = query.options().dtype(at::kInt);
  block.distance = at::arange(first_query + queries.begin, first_query + queries.end, whole)
                       .unsqueeze(1)
                       .sub(at::arange(block.keys.begin, block.keys.end, whole));
  block.hidden = block.distance.lt(0);
  if (p.window > 0) block.hidden.logical_or_(block.distance.ge(p.window));
  // The query heads of a KV head are further rows of one product: its keys are not copied for each.
  at::Tensor logits = at::bmm(query.narrow(2, queries.begin, rows).reshape({p.kv_heads, -1, p.head_dim}),
                              key.narrow(1, block.keys.begin, width).transpose(1, 2))
                          .view({p.query_heads, rows, width});
  // An infinite logit is no number, so that it is seen whatever its sign.
  logits.masked_fill_(logits.isinf(), std::numeric_limits<float>::quiet_NaN());
  if (!spec.alibi_slopes.empty()) logits.add_(distance_bias(spec, block, first_query));
  if (p.softcap > 0) logits.div_(p.softcap).tanh_().mul_(p.softcap);
  logits.masked_fill_(block.hidden, -std::numeric_limits<float>::infinity());
  block.shifted = logits.sub_(logits.amax(-1, true));
  block.exponent = block.shifted.exp();
  block.sum = block.exponent.sum(-1, true);
  return block;
}

/// Puts the statistics of blocks together.
class Statistics {
 public:
  Statistics(const AttentionCall& call, std::vector<HeadAttention>& heads) : call_(call), heads_(heads) {
    for (int64_t h = 0; h < call.problem.query_heads; ++h)
      heads.push_back(kernels::empty_statistics(call, h));
  }

  void add(const Block& block) {
    const at::Tensor weights = block.exponent.div(block.sum);
    add_rows(block, weights);
    add_columns(block, weights);
    add_map(block, weights);
    add_samples(block);
    add_exact(block, weights);
  }

 private:
  using RowField = std::vector<float> HeadAttention::*;
  using SumField = std::vector<double> HeadAttention::*;

  // One transfer for the numbers of all heads and queries.
  void add_rows(const Block& block, const at::Tensor& weights) {
    const kernels::AttentionRequest& request = call_.request;
    const int64_t width = size_of(block.keys);
    const at::Tensor none = at::zeros_like(block.sum.squeeze(-1));
    const auto column = [&](int64_t key) {
      const bool there = key >= block.keys.begin && key < block.keys.end;
      return there ? weights.select(2, key - block.keys.begin) : none;
    };
    std::vector<RowField> fields;
    std::vector<at::Tensor> values;
    const auto field = [&](RowField name, const at::Tensor& value) {
      fields.push_back(name);
      values.push_back(value);
    };
    // ln of the sum - the mean exponent; where nothing is seen -inf * 0 is no number.
    const at::Tensor logs = block.exponent.mul(block.shifted).masked_fill_(block.hidden, 0).sum(-1, true);
    field(&HeadAttention::entropy, block.sum.log().sub(logs.div(block.sum)).squeeze(-1).clamp_min(0));
    field(&HeadAttention::distance, weights.mul(block.distance).sum(-1));
    const int64_t first_keys = std::clamp<int64_t>(request.first_keys - block.keys.begin, 0, width);
    field(&HeadAttention::first_mass, weights.narrow(2, 0, first_keys).sum(-1));
    field(&HeadAttention::sink_mass, column(0));
    field(&HeadAttention::self_mass, weights.masked_fill(block.distance.ne(0), 0).sum(-1));
    const at::Tensor seen = block.hidden.logical_not();
    const at::Tensor small = block.exponent.lt(0.01).logical_and_(seen).sum(-1).div(seen.sum(-1));
    field(&HeadAttention::small_share,
          small.masked_fill(block.sum.squeeze(-1).isnan(), std::numeric_limits<float>::quiet_NaN()));
    if (request.watched_key >= 0) field(&HeadAttention::watched_mass, column(request.watched_key));
    if (request.heaviest_keys > 0)
      field(&HeadAttention::heaviest_mass,
            std::get<0>(weights.topk(std::min(request.heaviest_keys, width), -1, true, false)).sum(-1));
    const at::Tensor all = at::stack(values).cpu();
    for (size_t i = 0; i < fields.size(); ++i) {
      for (size_t h = 0; h < heads_.size(); ++h) {
        const at::Tensor from = all[static_cast<int64_t>(i)][static_cast<int64_t>(h)];
        std::copy_n(from.data_ptr<float>(), size_of(block.queries),
                    (heads_[h].*fields[i]).begin() + block.queries.begin);
      }
    }
  }

  /// Adds the weights of some of the block's queries to the sums of each key.
  void add_columns(SumField name, const Block& block, const at::Tensor& weights, Span queries) {
    const Span some{std::max(queries.begin, block.queries.begin), std::min(queries.end, block.queries.end)};
    if (some.begin >= some.end) return;
    const at::Tensor sums = weights.narrow(1, some.begin - block.queries.begin, size_of(some)).sum(1).cpu();
    for (size_t h = 0; h < heads_.size(); ++h) {
      std::vector<double>& to = heads_[h].*name;
      const float* const from = sums[static_cast<int64_t>(h)].data_ptr<float>();
      const int64_t end = std::min(block.keys.end, std::ssize(to));
      for (int64_t key = block.keys.begin; key < end; ++key)
        to[static_cast<size_t>(key)] += static_cast<double>(from[key - block.keys.begin]);
    }
  }

  void add_columns(const Block& block, const at::Tensor& weights) {
    const kernels::AttentionProblem& p = call_.problem;
    const kernels::AttentionRequest& request = call_.request;
    add_columns(&HeadAttention::key_mass, block, weights, {0, p.queries});
    add_columns(&HeadAttention::recent_mass, block, weights, {p.queries - request.recent_queries, p.queries});
    add_columns(&HeadAttention::early_mass, block, weights,
                {0, request.early_queries - (p.keys - p.queries)});
  }

  // [size, bins], 1 where the index is in the bin.
  at::Tensor in_bin(Span span, int64_t size, const at::Tensor& like) const {
    const at::TensorOptions whole = like.options().dtype(at::kLong);
    const at::Tensor bin =
        at::arange(span.begin, span.end, whole).mul(call_.map_bins).div(size, "floor").unsqueeze(1);
    return bin.eq(at::arange(call_.map_bins, whole)).to(like.options());
  }

  void add_map(const Block& block, const at::Tensor& weights) {
    if (call_.map_bins == 0) return;
    const at::Tensor columns = at::matmul(weights, in_bin(block.keys, call_.problem.keys, weights));
    const at::Tensor map =
        at::matmul(in_bin(block.queries, call_.problem.queries, weights).t(), columns).cpu();
    for (size_t h = 0; h < heads_.size(); ++h) {
      const float* const from = map[static_cast<int64_t>(h)].data_ptr<float>();
      for (size_t i = 0; i < heads_[h].map.size(); ++i) heads_[h].map[i] += static_cast<double>(from[i]);
    }
  }

  void add_samples(const Block& block) {
    for (const int64_t query : call_.sampled_queries) {
      if (query < block.queries.begin || query >= block.queries.end) continue;
      const Span seen = kernels::visible_keys(call_.problem, query);
      const at::Tensor rows = block.exponent.select(1, query - block.queries.begin).cpu();
      const at::Tensor sums = block.sum.select(1, query - block.queries.begin).cpu();
      for (size_t h = 0; h < heads_.size(); ++h) {
        const auto head = static_cast<int64_t>(h);
        const float* const row = rows[head].data_ptr<float>() + (seen.begin - block.keys.begin);
        top_mass_.add({row, static_cast<size_t>(size_of(seen))}, 1 / sums[head].item<double>(),
                      heads_[h].top_mass);
      }
    }
  }

  void add_exact(const Block& block, const at::Tensor& weights) {
    const kernels::AttentionProblem& p = call_.problem;
    for (size_t h = 0; h < heads_.size(); ++h) {
      if (heads_[h].exact.empty()) continue;
      at::from_blob(heads_[h].exact.data(), {p.queries, p.keys}, at::kFloat)
          .narrow(0, block.queries.begin, size_of(block.queries))
          .narrow(1, block.keys.begin, size_of(block.keys))
          .copy_(weights[static_cast<int64_t>(h)]);
    }
  }

  const AttentionCall& call_;
  std::vector<HeadAttention>& heads_;
  kernels::TopMass top_mass_;
};

}  // namespace

at::Tensor device_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionSpec& spec, const kernels::AttentionRequest& request,
                            at::Device device, std::vector<HeadAttention>* statistics) {
  const kernels::AttentionProblem problem = attention_problem(q, k, spec);
  const AttentionCall call = kernels::attention_call(problem, request);
  const at::Tensor query = q[0].to(device)
                               .mul(spec.scale)
                               .view({problem.kv_heads, problem.query_heads / problem.kv_heads,
                                      problem.queries, problem.head_dim});
  const at::Tensor key = k[0].to(device), value = v[0].to(device);
  const at::Tensor out = attention_output(q, v);
  std::vector<HeadAttention> heads;
  std::optional<Statistics> sums;
  if (request.statistics) sums.emplace(call, heads);
  const int64_t step = std::max<int64_t>(block_floats / (problem.query_heads * problem.keys), 1);
  for (int64_t first = 0; first < problem.queries; first += step) {
    const Span queries{first, std::min(first + step, problem.queries)};
    const Block block = softmax_block(call, spec, queries, query, key);
    const int64_t rows = size_of(queries);
    const at::Tensor weighted = at::bmm(block.exponent.view({problem.kv_heads, -1, size_of(block.keys)}),
                                        value.narrow(1, block.keys.begin, size_of(block.keys)))
                                    .view({problem.query_heads, rows, v.size(3)})
                                    .div(block.sum);
    out[0].narrow(1, first, rows).copy_(weighted);
    if (sums) sums->add(block);
  }
  for (HeadAttention& head : heads) kernels::finish(call, head);
  if (statistics != nullptr) *statistics = std::move(heads);
  return out;
}

}  // namespace kvviz
