// SPDX-License-Identifier: MIT
#include "kvviz/eval/changed_session.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/head_copies.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {
namespace {

using Store = ChangedSession::Store;

std::vector<int32_t> positions_of(const ChangedLayer& layer, int64_t kv_head, int64_t tokens) {
  if (!layer.positions.empty()) return layer.positions[static_cast<size_t>(kv_head)];
  std::vector<int32_t> all(static_cast<size_t>(tokens));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void reserve(at::Tensor& rows, int64_t held, int64_t needed) {
  if (needed <= rows.size(1)) return;
  const at::Tensor larger =
      at::empty({rows.size(0), std::max(needed, 2 * rows.size(1)), rows.size(2)}, rows.options());
  larger.narrow(1, 0, held).copy_(rows.narrow(1, 0, held));
  rows = larger;
}

void check(const ChangedLayer& from, const LayerConfig& shape, size_t layer, int64_t tokens) {
  require(from.key.size(0) == shape.kv_heads && from.key.size(2) == shape.head_dim &&
              from.value.sizes() == from.key.sizes(),
          "[cache] layer ", layer, " has another shape than the model's");
  require(from.positions.empty() ? from.key.size(1) == tokens : std::ssize(from.positions) == shape.kv_heads,
          "[cache] layer ", layer, " does not say where its tokens stood");
  for (const at::Tensor* factor : {&from.later_key_factor, &from.later_value_factor})
    require(!factor->defined() || factor->sizes() == at::IntArrayRef({shape.kv_heads, shape.head_dim}),
            "[cache] layer ", layer, " has factors of another shape than its heads and channels");
  for (const auto& held : from.positions)
    require(std::ssize(held) <= from.key.size(1), "[cache] layer ", layer, " has rows for ", from.key.size(1),
            " tokens and positions of ", held.size());
}

/// The KV heads that are read, joined into stores that are still empty: where attention asks for the
/// positions of the keys, those with the same ones, else those with as many.
std::vector<Store> stores_of(const ChangedLayer& from, const ModelConfig& config, const LayerConfig& shape,
                             int64_t tokens) {
  const bool by_position = shape.window > 0 || config.position == PositionKind::alibi;
  const int64_t group = shape.heads / shape.kv_heads;
  std::vector<Store> stores;
  for (int64_t g = 0; g < shape.kv_heads; ++g) {
    const auto silent = std::ranges::count_if(from.silent, [&](int head) { return head / group == g; });
    if (silent == group) continue;
    std::vector<int32_t> positions = positions_of(from, g, tokens);
    auto found = std::ranges::find_if(stores, [&](const Store& store) {
      return by_position ? store.positions == positions : store.positions.size() == positions.size();
    });
    if (found == stores.end()) {
      stores.push_back({.positions = std::move(positions)});
      found = std::prev(stores.end());
    }
    found->kv_heads.push_back(g);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) found->query_heads.push_back(h);
  }
  return stores;
}

at::Tensor rows_of(const at::Tensor& x, std::span<const int64_t> heads, int64_t held) {
  const at::Tensor rows = at::empty({std::ssize(heads), held, x.size(2)});
  for (int64_t i = 0; i < std::ssize(heads); ++i) rows[i].copy_(x[heads[i]].narrow(0, 0, held));
  return rows;
}

/// Positions are not those of the rows where tokens are gone, so the window is cut by hand: queries that see
/// the same first key go together.
void attend_in_window(const Store& store, AttentionSpec spec, const at::Tensor& query,
                      const at::Tensor& out) {
  const int64_t window = std::exchange(spec.window, 0);
  const int64_t queries = query.size(2), before = store.held() - queries;
  const auto first_key = [&](int64_t i) {
    const int64_t oldest = store.positions[static_cast<size_t>(before + i)] - window + 1;
    return std::ranges::lower_bound(store.positions, oldest) - store.positions.begin();
  };
  for (int64_t i = 0; i < queries;) {
    const int64_t first = first_key(i);
    int64_t end = i + 1;
    while (end < queries && first_key(end) == first) ++end;
    const int64_t keys = before + end - first;
    spec.key_positions =
        std::span(store.positions).subspan(static_cast<size_t>(first), static_cast<size_t>(keys));
    out.narrow(2, i, end - i)
        .copy_(streaming_attention(query.narrow(2, i, end - i), store.key.narrow(1, first, keys).unsqueeze(0),
                                   store.value.narrow(1, first, keys).unsqueeze(0), spec, {}, nullptr));
    i = end;
  }
}

at::Tensor picked(const at::Tensor& x, std::span<const int64_t> heads) {
  if (std::ssize(heads) == x.size(1)) return x;
  const at::Tensor some = at::empty({1, std::ssize(heads), x.size(2), x.size(3)});
  std::vector<int64_t> all(heads.size());
  std::iota(all.begin(), all.end(), 0);
  copy_heads(x, heads, some, all);
  return some;
}

void append(Store& store, const LayerQkv& x, int64_t position) {
  const int64_t added = x.key.size(2), held = store.held();
  reserve(store.key, held, held + added);
  reserve(store.value, held, held + added);
  for (size_t i = 0; i < store.kv_heads.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const at::Tensor key = store.key[row].narrow(0, held, added);
    const at::Tensor value = store.value[row].narrow(0, held, added);
    key.copy_(x.key[0][store.kv_heads[i]]);
    value.copy_(x.value[0][store.kv_heads[i]]);
    if (store.key_factor.defined()) key.mul_(store.key_factor[store.kv_heads[i]]);
    if (store.value_factor.defined()) value.mul_(store.value_factor[store.kv_heads[i]]);
  }
  for (int64_t t = 0; t < added; ++t) store.positions.push_back(static_cast<int32_t>(position + t));
}

at::Tensor attend_store(const Store& store, const LayerQkv& x) {
  const at::Tensor query = picked(x.query, store.query_heads);
  const bool contiguous = store.positions.back() - store.positions.front() + 1 == store.held();
  AttentionSpec spec = of_heads(x.spec, store.query_heads);
  if (!contiguous) spec.key_positions = store.positions;
  if (x.spec.window > 0 && !contiguous) {
    const at::Tensor out = at::empty(query.sizes(), query.options());
    attend_in_window(store, std::move(spec), query, out);
    return out;
  }
  return streaming_attention(query, store.key.narrow(1, 0, store.held()).unsqueeze(0),
                             store.value.narrow(1, 0, store.held()).unsqueeze(0), spec, {}, nullptr);
}

}  // namespace

double squared_norm(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble).contiguous();
  const double* const first = wide.data_ptr<double>();
  return std::transform_reduce(first, first + wide.numel(), 0.0, std::plus<>(),
                               [](double element) { return element * element; });
}

double relative_error(const at::Tensor& restored, const at::Tensor& x) {
  const double size = squared_norm(x);
  const double off = squared_norm(restored.to(at::kDouble).sub(x));
  return size > 0 ? std::sqrt(off / size) : std::sqrt(off);
}

at::Tensor held_rows(const at::Tensor& x, std::span<const std::vector<int32_t>> positions) {
  size_t most = 0;
  for (const auto& head : positions) most = std::max(most, head.size());
  const at::Tensor rows = at::zeros({x.size(0), static_cast<int64_t>(most), x.size(2)});
  for (int64_t g = 0; g < x.size(0); ++g) {
    const auto& held = positions[static_cast<size_t>(g)];
    const at::Tensor index = at::empty({std::ssize(held)}, at::kLong);
    std::ranges::copy(held, index.data_ptr<int64_t>());
    rows[g].narrow(0, 0, index.size(0)).copy_(x[g].index_select(0, index));
  }
  return rows;
}

ChangedSession::ChangedSession(const Decoder& decoder, std::span<const ChangedLayer> layers, int64_t tokens)
    : decoder_(decoder), tokens_(tokens) {
  const auto& shapes = decoder.config().layers;
  require(layers.size() == shapes.size(), "[cache] got ", layers.size(), " layers; the model has ",
          shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    check(layers[i], shapes[i], i, tokens);
    Layer layer{.stores = stores_of(layers[i], decoder.config(), shapes[i], tokens),
                .silent = layers[i].silent};
    for (Store& store : layer.stores) {
      store.key = rows_of(layers[i].key, store.kv_heads, store.held());
      store.value = rows_of(layers[i].value, store.kv_heads, store.held());
      store.key_factor = layers[i].later_key_factor;
      store.value_factor = layers[i].later_value_factor;
    }
    layers_.push_back(std::move(layer));
  }
}

at::Tensor ChangedSession::attend(const LayerQkv& x) {
  Layer& layer = layers_[static_cast<size_t>(x.layer)];
  for (Store& store : layer.stores) append(store, x, tokens_);
  at::Tensor out;
  if (layer.stores.size() == 1 && std::ssize(layer.stores[0].query_heads) == x.query.size(1)) {
    out = attend_store(layer.stores[0], x);
  } else {
    out = x.query.new_zeros({1, x.query.size(2), x.query.size(1), x.query.size(3)}).transpose(1, 2);
    for (const Store& store : layer.stores) {
      const at::Tensor part = attend_store(store, x);
      std::vector<int64_t> all(store.query_heads.size());
      std::iota(all.begin(), all.end(), 0);
      copy_heads(part, all, out, store.query_heads);
    }
  }
  for (const int head : layer.silent) out.select(1, head).zero_();
  return out;
}

at::Tensor ChangedSession::extend(std::span<const int32_t> ids, const Probe& probe) {
  const at::NoGradGuard no_grad;
  const at::Tensor input = token_tensor(ids);
  const at::Tensor hidden = decoder_.hidden(
      input, {tokens_}, [this](const LayerQkv& x) { return attend(x); }, probe);
  tokens_ += std::ssize(ids);
  return hidden[0];
}

int64_t ChangedSession::bytes() const {
  int64_t bytes = 0;
  for (const Layer& layer : layers_) {
    for (const Store& store : layer.stores)
      bytes += 2 * std::ssize(store.kv_heads) * store.held() * store.key.size(2) *
               static_cast<int64_t>(sizeof(float));
  }
  return bytes;
}

}  // namespace kvviz
