// SPDX-License-Identifier: MIT
#include "unit/eval/masked_pass.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <limits>

namespace kvviz::test {
namespace {

template <class T>
const std::vector<T>* entry(const std::vector<std::vector<T>>& lists, int64_t index) {
  return lists.empty() ? nullptr : &lists[static_cast<size_t>(index)];
}

at::Tensor whole(const at::Tensor& of_model, const at::Tensor& of_prefix, int64_t prefix) {
  if (!of_prefix.defined()) return of_model;
  return at::cat({of_prefix, of_model.narrow(1, prefix, of_model.size(1) - prefix)}, 1);
}

/// 0, or ALiBi's bias of the head, where query i sees key j, else -inf.
at::Tensor mask(const LayerQkv& x, const MaskedLayer& layer, int64_t head, int64_t prefix) {
  const int64_t kv_head = head / (x.query.size(1) / x.key.size(1));
  const int64_t tokens = x.query.size(2);
  at::Tensor result = at::zeros({tokens, tokens}, at::kDouble);
  auto cell = result.accessor<double, 2>();
  const double never = -std::numeric_limits<double>::infinity();
  const auto& slopes = x.spec.alibi_slopes;
  const double slope = slopes.empty() ? 0 : static_cast<double>(slopes[static_cast<size_t>(head)]);
  for (int64_t i = 0; i < tokens; ++i)
    for (int64_t j = 0; j < tokens; ++j) cell[i][j] = slope * static_cast<double>(j - i);
  for (int64_t i = 0; i < tokens; ++i)
    for (int64_t j = 0; j < tokens; ++j)
      if (j > i || (x.spec.window > 0 && i - j >= x.spec.window)) cell[i][j] = never;
  if (const auto* gone = entry(layer.gone, kv_head))
    for (int64_t i = prefix; i < tokens; ++i)
      for (const int32_t j : *gone) cell[i][j] = never;
  return result;
}

at::Tensor head_output(const LayerQkv& x, const MaskedLayer& layer, int64_t head, int64_t prefix) {
  const int64_t tokens = x.query.size(2), g = head / (x.query.size(1) / x.key.size(1));
  at::Tensor query = x.query[0][head].to(at::kDouble).clone();
  const at::Tensor key = whole(x.key[0], layer.key, prefix)[g].to(at::kDouble);
  const at::Tensor value = whole(x.value[0], layer.value, prefix)[g].to(at::kDouble);
  const auto after = [&](const at::Tensor& t) { return t.narrow(0, prefix, tokens - prefix); };
  if (const auto* blind = entry(layer.blind, head))
    for (const int channel : *blind) after(query).select(1, channel).zero_();
  const at::Tensor logits = at::matmul(query, key.transpose(0, 1)).mul(x.spec.scale);
  at::Tensor out = at::matmul(at::softmax(logits.add(mask(x, layer, head, prefix)), 1), value);
  if (const auto* mute = entry(layer.mute, head))
    for (const int channel : *mute) after(out).select(1, channel).zero_();
  for (const int silent : layer.silent)
    if (silent == head) after(out).zero_();
  return out.to(at::kFloat);
}

}  // namespace

at::Tensor masked_pass(const Decoder& decoder, const std::vector<int32_t>& ids, int64_t prefix,
                       std::span<const MaskedLayer> layers) {
  const auto tokens = std::ssize(ids);
  const at::Tensor input = at::empty({1, tokens}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  const auto attend = [&](const LayerQkv& x) {
    std::vector<at::Tensor> heads;
    for (int64_t h = 0; h < x.query.size(1); ++h)
      heads.push_back(head_output(x, layers[static_cast<size_t>(x.layer)], h, prefix));
    return at::stack(heads).unsqueeze(0);
  };
  return decoder.hidden(input, {}, attend)[0].narrow(0, prefix, tokens - prefix);
}

}  // namespace kvviz::test
