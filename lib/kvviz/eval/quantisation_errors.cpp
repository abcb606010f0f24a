// SPDX-License-Identifier: MIT
#include "kvviz/eval/quantisation_errors.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

#include <array>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/changed_session.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {
namespace {

/// Sums over heads of squares.
struct Squares {
  double size = 0, off = 0;
  void add(const at::Tensor& exact, const at::Tensor& changed) {
    const at::Tensor x = exact.to(at::kDouble);
    size += squared_norm(x);
    off += squared_norm(changed.to(at::kDouble).sub(x));
  }
  double relative() const { return size > 0 ? std::sqrt(off / size) : std::sqrt(off); }
};

at::Tensor head(const at::Tensor& x, int64_t h) {
  return x.narrow(0, h, 1).unsqueeze(0);
}

/// Small weights among those that a query can have: a masked one is 0 and not counted.
double small_share(const at::Tensor& weights, const at::Tensor& visible) {
  const at::Tensor limit = weights.amax(-1, true).mul(0.01);
  const double small = weights.lt(limit).logical_and(visible).sum().item<double>();
  return small / visible.sum().item<double>();
}

at::Tensor visible_keys(int64_t queries, int64_t keys, int64_t window) {
  const at::Tensor key = at::arange(keys), query = at::arange(keys - queries, keys).unsqueeze(1);
  at::Tensor seen = key.le(query);
  if (window > 0) seen = seen.logical_and(query.sub(key).lt(window));
  return seen;
}

}  // namespace

AttentionErrors attention_errors(const LayerAttention& exact, const at::Tensor& key,
                                 const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  const int64_t heads = exact.query.size(0), group = heads / exact.key.size(0);
  const at::Tensor visible = visible_keys(exact.query.size(1), exact.key.size(1), exact.spec.window);
  Squares weight_squares, output_squares;
  AttentionErrors errors;
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t g = h / group;
    const AttentionSpec spec = of_heads(exact.spec, std::array{h});
    at::Tensor weights, changed_weights;
    const at::Tensor output =
        eager_attention(head(exact.query, h), head(exact.key, g), head(exact.value, g), spec, &weights);
    const at::Tensor changed =
        eager_attention(head(exact.query, h), head(key, g), head(value, g), spec, &changed_weights);
    weight_squares.add(weights, changed_weights);
    output_squares.add(output, changed);
    errors.sparsity += small_share(weights[0][0], visible) / static_cast<double>(heads);
  }
  Squares keys, values;
  keys.add(exact.key, key);
  values.add(exact.value, value);
  errors.key_error = keys.relative();
  errors.value_error = values.relative();
  errors.weight_error = weight_squares.relative();
  errors.output_error = output_squares.relative();
  return errors;
}

std::vector<std::vector<AttentionErrors>> attention_errors(const Decoder& decoder,
                                                           std::span<const int32_t> ids, int64_t from,
                                                           std::span<const ChangeKv> changes) {
  const at::NoGradGuard no_grad;
  const auto tokens = std::ssize(ids);
  require<UsageError>(from >= 0 && from < tokens, "got ", tokens, " tokens, of which none is behind token ",
                      from);
  std::vector<std::vector<AttentionErrors>> errors(changes.size());
  const auto attend = [&](const LayerQkv& x) {
    const LayerAttention exact{x.spec, x.query[0].narrow(1, from, tokens - from), x.key[0].contiguous(),
                               x.value[0].contiguous()};
    for (size_t c = 0; c < changes.size(); ++c) {
      const auto [key, value] = changes[c](exact.key, exact.value);
      errors[c].push_back(attention_errors(exact, key, value));
    }
    return streaming_attention(x.query, x.key, x.value, x.spec, {}, nullptr);
  };
  const at::Tensor input = token_tensor(ids);
  decoder.hidden(input, {}, attend);
  return errors;
}

}  // namespace kvviz
