// SPDX-License-Identifier: MIT
#include "kvviz/eval/changed_session.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/split_text.hpp"
#include "kvviz/model/load.hpp"
#include "support/errors.hpp"
#include "support/fixture.hpp"
#include "unit/eval/masked_pass.hpp"

using namespace kvviz;
using test::check_near;
using test::MaskedLayer;
namespace fs = std::filesystem;

namespace {

using TokenLists = std::vector<std::vector<int32_t>>;

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
constexpr int64_t tokens = 32, prefix = 18;
// Softmax and products in f32 against double, through two or three layers.
constexpr double tolerance = 2e-5;

std::vector<int32_t> text(const ModelConfig& config) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 5 + 3) % config.vocabulary));
  return ids;
}

/// Every token but those that are gone.
TokenLists held(const TokenLists& gone) {
  TokenLists all;
  for (const auto& of_head : gone) {
    all.emplace_back();
    for (int32_t t = 0; t < prefix; ++t)
      if (std::ranges::count(of_head, t) == 0) all.back().push_back(t);
  }
  return all;
}

/// The rows at these positions, each head's first in its part, junk behind them.
at::Tensor packed(const at::Tensor& x, const TokenLists& positions) {
  const auto most = static_cast<int64_t>(std::ranges::max(positions, {}, &std::vector<int32_t>::size).size());
  at::Tensor rows = at::ones({x.size(0), most, x.size(2)}).mul(1e9);
  for (size_t g = 0; g < positions.size(); ++g)
    for (size_t i = 0; i < positions[g].size(); ++i)
      rows[static_cast<int64_t>(g)][static_cast<int64_t>(i)].copy_(
          x[static_cast<int64_t>(g)][positions[g][i]]);
  return rows;
}

struct Model {
  explicit Model(const char* name)
      : loaded(load_model(models / name)), ids(text(decoder().config())), split(decoder(), ids, prefix) {}
  const Decoder& decoder() const { return loaded.decoder; }
  const ModelConfig& config() const { return decoder().config(); }

  /// The continuation in pieces: many tokens, one, and the rest.
  at::Tensor extended(std::span<const ChangedLayer> layers) const {
    ChangedSession session(decoder(), layers, prefix);
    const auto rest = split.continuation();
    std::vector<at::Tensor> hidden;
    for (const auto piece : {rest.first(5), rest.subspan(5, 1), rest.subspan(6)})
      hidden.push_back(session.extend(piece));
    CHECK(session.tokens() == tokens);
    return at::cat(hidden, 0);
  }

  LoadedModel loaded;
  std::vector<int32_t> ids;
  SplitText split;
};

/// Without the tokens that are gone, by layer and KV head.
std::vector<ChangedLayer> without(const KvCache& cache, const std::vector<TokenLists>& gone) {
  std::vector<ChangedLayer> layers;
  for (size_t l = 0; l < gone.size(); ++l) {
    const TokenLists positions = held(gone[l]);
    layers.push_back({.key = packed(cache.layers[l].key, positions),
                      .value = packed(cache.layers[l].value, positions),
                      .positions = positions});
  }
  return layers;
}

/// A pattern of tokens for each layer and head: as many in all heads, or more in one than in the next.
std::vector<TokenLists> some_gone(const ModelConfig& config, bool ragged) {
  std::vector<TokenLists> gone;
  for (size_t l = 0; l < config.layers.size(); ++l) {
    gone.emplace_back();
    for (int64_t g = 0; g < config.layers[l].kv_heads; ++g) {
      const auto many = ragged ? 2 + 5 * g : 4;
      gone.back().emplace_back();
      for (int64_t i = 0; i < many; ++i)
        gone.back().back().push_back(
            static_cast<int32_t>(prefix - 1 - (i * 3 + g + static_cast<int64_t>(l)) % prefix));
      std::ranges::sort(gone.back().back());
      gone.back().back().erase(std::ranges::unique(gone.back().back()).begin(), gone.back().back().end());
    }
  }
  return gone;
}

std::vector<MaskedLayer> masked(const std::vector<TokenLists>& gone) {
  std::vector<MaskedLayer> layers;
  for (const TokenLists& of_layer : gone) layers.push_back({.gone = of_layer});
  return layers;
}

constexpr const char* every_model[] = {"llama_gqa",    "gpt2",          "mistral",
                                       "qwen2_window", "bloom_6_heads", "mpt"};

}  // namespace

TEST_CASE("[changed_session] tokens that are gone get no attention: -inf in one dense pass") {
  for (const char* name : every_model)
    for (const bool ragged : {false, true}) {
      CAPTURE(name);
      CAPTURE(ragged);
      const Model model(name);
      const auto gone = some_gone(model.config(), ragged);
      const at::Tensor expected = masked_pass(model.decoder(), model.ids, prefix, masked(gone));
      check_near(model.extended(without(model.split.cache(), gone)), expected, tolerance);
      // And it matters.
      CHECK(expected.sub(model.split.hidden()).abs().max().item<float>() > 1e-3);
    }
}

TEST_CASE("[changed_session] the newest tokens of the prefix gone: a window that reaches back finds a gap") {
  for (const char* name : {"mistral", "qwen2_window"}) {
    CAPTURE(name);
    const Model model(name);
    std::vector<TokenLists> gone;
    for (const LayerConfig& layer : model.config().layers)
      gone.emplace_back(static_cast<size_t>(layer.kv_heads), std::vector<int32_t>{12, 13, 15, 16, 17});
    check_near(model.extended(without(model.split.cache(), gone)),
               masked_pass(model.decoder(), model.ids, prefix, masked(gone)), tolerance);
  }
}

TEST_CASE("[changed_session] the oldest gone: what is left is a run of positions") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    std::vector<TokenLists> gone;
    for (const LayerConfig& layer : model.config().layers)
      gone.emplace_back(static_cast<size_t>(layer.kv_heads), std::vector<int32_t>{0, 1, 2, 3, 4});
    check_near(model.extended(without(model.split.cache(), gone)),
               masked_pass(model.decoder(), model.ids, prefix, masked(gone)), tolerance);
  }
}

TEST_CASE("[changed_session] an empty cache: the continuation sees itself alone, where it stands") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    std::vector<int32_t> all(prefix);
    std::iota(all.begin(), all.end(), 0);
    std::vector<TokenLists> gone;
    for (const LayerConfig& layer : model.config().layers)
      gone.emplace_back(static_cast<size_t>(layer.kv_heads), all);
    check_near(model.extended(without(model.split.cache(), gone)),
               masked_pass(model.decoder(), model.ids, prefix, masked(gone)), tolerance);
  }
}

TEST_CASE(
    "[changed_session] silent heads: one of a group, a whole group that holds nothing, all of a layer") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const auto& shapes = model.config().layers;
    for (const int case_number : {0, 1, 2}) {
      CAPTURE(case_number);
      std::vector<ChangedLayer> layers;
      std::vector<MaskedLayer> expected(shapes.size());
      for (size_t l = 0; l < shapes.size(); ++l) {
        const LayerKv& cache = model.split.cache().layers[l];
        layers.push_back({.key = cache.key, .value = cache.value});
      }
      const LayerConfig& shape = shapes.back();
      const auto group = static_cast<int>(shape.heads / shape.kv_heads);
      std::vector<int> silent{static_cast<int>(shape.heads) - 1};
      if (case_number > 0) {
        silent.resize(static_cast<size_t>(case_number == 1 ? group : shape.heads));
        std::iota(silent.begin(), silent.end(), 0);
        TokenLists gone(static_cast<size_t>(shape.kv_heads));
        std::vector<int32_t> all(prefix);
        std::iota(all.begin(), all.end(), 0);
        for (size_t g = 0; g < gone.size(); ++g)
          if (case_number == 2 || g == 0) gone[g] = all;
        const TokenLists positions = held(gone);
        layers.back() = {.key = packed(layers.back().key, positions),
                         .value = packed(layers.back().value, positions),
                         .positions = positions};
      }
      layers.back().silent = silent;
      expected.back().silent = silent;
      check_near(model.extended(layers), masked_pass(model.decoder(), model.ids, prefix, expected),
                 tolerance);
    }
  }
}

TEST_CASE("[changed_session] other keys and values, and heads without tokens, together") {
  const Model model("llama_gqa");
  const auto gone = some_gone(model.config(), true);
  std::vector<ChangedLayer> layers;
  std::vector<MaskedLayer> expected = masked(gone);
  for (size_t l = 0; l < gone.size(); ++l) {
    const LayerKv& cache = model.split.cache().layers[l];
    expected[l].key = cache.key.mul(0.9).add(at::rand(cache.key.sizes()), 0.1);
    expected[l].value = cache.value.mul(1.1);
    expected[l].silent = {1, 3};
    const TokenLists positions = held(gone[l]);
    layers.push_back({.key = packed(expected[l].key, positions),
                      .value = packed(expected[l].value, positions),
                      .positions = positions,
                      .silent = {1, 3}});
  }
  check_near(model.extended(layers), masked_pass(model.decoder(), model.ids, prefix, expected), tolerance);
}

TEST_CASE(
    "[changed_session] keys before RoPE are rotated to where their tokens stood, however few are left") {
  for (const char* name : {"llama_gqa", "llama3_rope", "mistral"}) {
    CAPTURE(name);
    const Model model(name);
    const SplitText plain(model.decoder(), model.ids, prefix, KeyBasis::pre_rope);
    const auto gone = some_gone(model.config(), true);
    // They differ, and meet again after the rotation.
    CHECK_FALSE(at::equal(plain.cache().layers[0].key, model.split.cache().layers[0].key));
    const at::Tensor expected = masked_pass(model.decoder(), model.ids, prefix, masked(gone));
    check_near(plain.run(without(plain.cache(), gone)).hidden, expected, tolerance);
    check_near(model.split.run(without(model.split.cache(), gone)).hidden, expected, tolerance);
  }
}

TEST_CASE("[changed_session] later keys and values are multiplied by the factors") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral"}) {
    CAPTURE(name);
    const Model model(name);
    std::vector<ChangedLayer> layers;
    std::vector<MaskedLayer> expected;
    for (size_t l = 0; l < model.config().layers.size(); ++l) {
      const LayerConfig& shape = model.config().layers[l];
      at::Tensor key_factor = at::ones({shape.kv_heads, shape.head_dim});
      at::Tensor value_factor = key_factor.clone();
      key_factor[0][1].zero_();
      value_factor[shape.kv_heads - 1][2].zero_();
      const LayerKv& cache = model.split.cache().layers[l];
      layers.push_back({.key = cache.key.mul(key_factor.unsqueeze(1)),
                        .value = cache.value.mul(value_factor.unsqueeze(1)),
                        .later_key_factor = key_factor,
                        .later_value_factor = value_factor});
      expected.emplace_back();
      const int64_t group = shape.heads / shape.kv_heads;
      for (int64_t h = 0; h < shape.heads; ++h) {
        expected.back().blind.push_back(h / group == 0 ? std::vector<int>{1} : std::vector<int>{});
        expected.back().mute.push_back(h / group == shape.kv_heads - 1 ? std::vector<int>{2}
                                                                       : std::vector<int>{});
      }
    }
    check_near(model.extended(layers), masked_pass(model.decoder(), model.ids, prefix, expected), tolerance);
  }
}

TEST_CASE("[changed_session] bytes are those of the held keys and values in f32") {
  const Model model("llama_gqa");
  const LayerConfig& shape = model.config().layers.front();
  const auto bytes_of = [&](int64_t entries) { return entries * shape.head_dim * 2 * 4; };
  std::vector<ChangedLayer> layers =
      without(model.split.cache(), {{{0, 1, 2}, {5}}, {{}, {0, 1, 2, 3, 4, 5, 6, 7}}});
  ChangedSession session(model.decoder(), layers, prefix);
  CHECK(session.bytes() == bytes_of(15 + 17 + 18 + 10));
  session.extend(model.split.continuation().first(3));
  CHECK(session.bytes() == bytes_of(15 + 17 + 18 + 10 + 4 * 3));
  // A group without a query head left holds nothing, now or later; one query head more or less is nothing.
  const auto group = static_cast<int>(shape.heads / shape.kv_heads);
  layers[1].silent.resize(static_cast<size_t>(group));
  std::iota(layers[1].silent.begin(), layers[1].silent.end(), 0);
  layers[0].silent = {2};
  ChangedSession fewer(model.decoder(), layers, prefix);
  CHECK(fewer.bytes() == bytes_of(15 + 17 + 10));
  fewer.extend(model.split.continuation().first(3));
  CHECK(fewer.bytes() == bytes_of(15 + 17 + 10 + 3 * 3));
}

TEST_CASE("[changed_session] what does not fit is refused") {
  const Model model("llama_gqa");
  const auto message = [&](auto&& change) {
    std::vector<ChangedLayer> layers;
    for (const LayerKv& layer : model.split.cache().layers)
      layers.push_back({.key = layer.key, .value = layer.value});
    change(layers);
    return test::message_of<DataError>([&] { ChangedSession(model.decoder(), layers, prefix); });
  };
  CHECK(message([](auto&) {}).empty());
  CHECK(test::holds(message([](auto& layers) { layers.pop_back(); }), "layers; the model has 2"));
  CHECK(test::holds(message([](auto& layers) { layers[1].value = layers[1].value.narrow(2, 0, 4); }),
                    "layer 1 has another shape"));
  CHECK(test::holds(message([](auto& layers) { layers[0].positions = {{0}}; }), "where its tokens stood"));
  CHECK(test::holds(message([](auto& layers) {
                      layers[0].positions = {std::vector<int32_t>(prefix + 1), {0}};
                    }),
                    "positions of 19"));
  CHECK(test::holds(message([](auto& layers) { layers[0].later_key_factor = at::ones({1, 2}); }), "factors"));
}
