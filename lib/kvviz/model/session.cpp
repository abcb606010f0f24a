// SPDX-License-Identifier: MIT
#include "kvviz/model/session.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "kvviz/model/token_ids.hpp"

namespace kvviz {
namespace {

// [heads, capacity, head_dim] with room for `needed` tokens: exactly that at first, then doubling.
void reserve(at::Tensor& store, const LayerConfig& shape, int64_t used, int64_t needed) {
  const int64_t capacity = store.defined() ? store.size(1) : 0;
  if (needed <= capacity) return;
  at::Tensor larger = at::empty({shape.kv_heads, std::max(needed, 2 * capacity), shape.head_dim});
  if (used > 0) larger.narrow(1, 0, used).copy_(store.narrow(1, 0, used));
  store = larger;
}

}  // namespace

Session::Session(const Decoder& decoder) : decoder_(decoder), stores_(decoder.config().layers.size()) {}

at::Tensor Session::attend(const LayerQkv& x, const Watch& watch) {
  Store& store = stores_[static_cast<size_t>(x.layer)];
  const int64_t added = x.key.size(2), length = tokens_ + added;
  store.key.narrow(1, tokens_, added).copy_(x.key[0]);
  store.value.narrow(1, tokens_, added).copy_(x.value[0]);
  if (watch.on_qkv) watch.on_qkv(x);
  const bool measured = watch.only_layer < 0 || watch.only_layer == x.layer;
  const kernels::AttentionRequest nothing;
  std::vector<kernels::HeadAttention> statistics;
  const at::Tensor out = streaming_attention(x.query, store.key.narrow(1, 0, length).unsqueeze(0),
                                             store.value.narrow(1, 0, length).unsqueeze(0), x.spec,
                                             measured ? watch.attention : nothing, &statistics);
  if (measured && watch.on_attention && watch.attention.statistics)
    watch.on_attention(x.layer, std::move(statistics));
  if (watch.on_layer) watch.on_layer();
  return out;
}

int64_t Session::pieces(int64_t ids, const Watch& watch) {
  const bool whole = watch.attention.statistics || watch.on_qkv || watch.probe;
  return whole ? 1 : (ids + piece_tokens - 1) / piece_tokens;
}

at::Tensor Session::extend_piece(std::span<const int32_t> ids, int64_t length, const Watch& watch) {
  const at::Tensor input = token_tensor(ids);
  const at::Tensor hidden = decoder_.hidden(
      input, {tokens_, length}, [&](const LayerQkv& x) { return attend(x, watch); }, watch.probe);
  tokens_ += std::ssize(ids);
  return hidden[0];
}

at::Tensor Session::extend(std::span<const int32_t> ids, const Watch& watch) {
  const at::NoGradGuard no_grad;
  const auto added = static_cast<int64_t>(ids.size());
  const int64_t length = tokens_ + added;
  // All before the first layer runs: made between the layers' passing tensors they would leave holes that the
  // next layer's no longer fit.
  for (size_t i = 0; i < stores_.size(); ++i) {
    const LayerConfig& shape = decoder_.config().layers[i];
    reserve(stores_[i].key, shape, tokens_, length);
    reserve(stores_[i].value, shape, tokens_, length);
  }
  if (pieces(added, watch) <= 1) return extend_piece(ids, length, watch);
  at::Tensor all;
  if (watch.all_hidden) all = at::empty({added, decoder_.config().hidden});
  for (int64_t first = 0; first < added; first += piece_tokens) {
    const int64_t size = std::min(piece_tokens, added - first);
    const at::Tensor hidden =
        extend_piece(ids.subspan(static_cast<size_t>(first), static_cast<size_t>(size)), length, watch);
    if (!watch.all_hidden)
      all = hidden;
    else
      all.narrow(0, first, size).copy_(hidden);
  }
  return all;
}

KvCache Session::cache(int64_t tokens) const {
  const ModelConfig& config = decoder_.config();
  KvCache cache;
  for (size_t i = 0; i < stores_.size(); ++i) {
    cache.layers.push_back({.key = stores_[i].key.narrow(1, 0, tokens),
                            .value = stores_[i].value.narrow(1, 0, tokens),
                            .query_heads = static_cast<int>(config.layers[i].heads),
                            .window = static_cast<int>(config.layers[i].window)});
  }
  if (config.position == PositionKind::rope) {
    cache.pairing = config.rope.pairing;
    cache.rotary_dim = static_cast<int>(config.rope.rotary_dim);
  }
  return cache;
}

}  // namespace kvviz
