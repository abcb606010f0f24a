// SPDX-License-Identifier: MIT
#include "kvviz/eval/removal.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/split_text.hpp"
#include "kvviz/model/load.hpp"
#include "support/errors.hpp"
#include "support/fixture.hpp"
#include "unit/eval/masked_pass.hpp"

using namespace kvviz;
using test::check_near;
using test::holds;
using test::MaskedLayer;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
constexpr int64_t tokens = 32, prefix = 18;
// Softmax and products in f32 against double, through two or three layers.
constexpr double tolerance = 2e-5;
constexpr const char* every_model[] = {"llama_gqa", "gpt2", "mistral", "qwen2_window"};

struct Model {
  explicit Model(const char* name)
      : loaded(load_model(models / name)), ids(text(config())), split(loaded.decoder, ids, prefix) {}
  const ModelConfig& config() const { return loaded.decoder.config(); }
  static std::vector<int32_t> text(const ModelConfig& config) {
    std::vector<int32_t> all;
    for (int64_t i = 0; i < tokens; ++i)
      all.push_back(static_cast<int32_t>((i * i * 5 + 3) % config.vocabulary));
    return all;
  }
  ContinuedRun run(const Removal& removal) const {
    return split.run(removed(split.cache(), config(), removal).layers);
  }
  at::Tensor expected(std::span<const MaskedLayer> layers) const {
    return masked_pass(loaded.decoder, ids, prefix, layers);
  }
  int group(size_t layer) const {
    return static_cast<int>(config().layers[layer].heads / config().layers[layer].kv_heads);
  }

  LoadedModel loaded;
  std::vector<int32_t> ids;
  SplitText split;
};

std::vector<int> counted(int64_t n) {
  std::vector<int> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// One layer of one KV head, head_dim 4: keys 1 .. 16 with signs, values 10 times that.
KvCache by_hand() {
  const at::Tensor key = at::zeros({1, 4, 4});
  for (int i = 0; i < 16; ++i) key[0][i / 4][i % 4].fill_((i % 2 == 0 ? 1 : -1) * (i + 1));
  return {.layers = {{.key = key, .value = key.mul(10)}}};
}

ModelConfig shape_by_hand(int64_t heads) {
  return {.layers = {{.heads = heads, .kv_heads = 1, .head_dim = 4}}};
}

}  // namespace

TEST_CASE("[removal] nothing removed loses nothing, bit for bit") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const ContinuedRun run = model.run({});
    CHECK(at::equal(run.hidden, model.split.hidden()));
    for (const auto& heads : run.output_error)
      for (const double error : heads) CHECK(error == 0);
    const RemovedCache cache = removed(model.split.cache(), model.config(), {});
    for (size_t l = 0; l < cache.layers.size(); ++l) {
      const LayerConfig& shape = model.config().layers[l];
      CHECK(cache.layers[l].payload_bytes == 2 * 2 * shape.kv_heads * prefix * shape.head_dim);
      CHECK(cache.layers[l].metadata_bytes == 0);
    }
    CHECK(cache.key_zeros == 0);
  }
}

TEST_CASE("[removal] heads without layers are those heads in every layer") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const size_t layers = model.config().layers.size();
    const at::Tensor everywhere = model.run({.heads = {1}}).hidden;
    CHECK(at::equal(everywhere,
                    model.run({.layers = counted(static_cast<int64_t>(layers)), .heads = {1}}).hidden));
    CHECK_FALSE(at::equal(everywhere, model.run({.layers = {0}, .heads = {1}}).hidden));
    std::vector<MaskedLayer> expected(layers);
    for (size_t l = 0; l < layers; ++l)
      for (int i = 0; i < model.group(l); ++i) expected[l].silent.push_back(model.group(l) + i);
    check_near(everywhere, model.expected(expected), tolerance);
  }
}

TEST_CASE("[removal] removed tokens get exactly no attention: whatever they held, not a bit changes") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const Removal removal{.tokens = {0, 3, 11, 17}};
    const at::Tensor hidden = model.run(removal).hidden;
    KvCache other = model.split.cache();
    for (LayerKv& layer : other.layers) {
      layer.key = layer.key.clone(), layer.value = layer.value.clone();
      for (const int token : removal.tokens) {
        layer.key.select(1, token).fill_(1e30);
        layer.value.select(1, token).fill_(-1e30);
      }
    }
    CHECK(at::equal(model.split.run(removed(other, model.config(), removal).layers).hidden, hidden));
    std::vector<MaskedLayer> expected;
    for (const LayerConfig& layer : model.config().layers)
      expected.push_back({.gone = {static_cast<size_t>(layer.kv_heads), {0, 3, 11, 17}}});
    check_near(hidden, model.expected(expected), tolerance);
  }
}

TEST_CASE("[removal] tokens of some heads of some layers") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const Removal removal{.layers = {1}, .heads = {0}, .tokens = {2, 16}};
    std::vector<MaskedLayer> expected(model.config().layers.size());
    expected[1].gone.resize(static_cast<size_t>(model.config().layers[1].kv_heads));
    expected[1].gone[0] = {2, 16};
    check_near(model.run(removal).hidden, model.expected(expected), tolerance);
  }
}

TEST_CASE("[removal] a layer is all its KV heads, or all its query heads: the layer without attention") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    const int64_t heads = model.config().layers[1].heads;
    const Removal layer{.layers = {1}};
    const at::Tensor hidden = model.run(layer).hidden;
    CHECK(at::equal(hidden, model.run({.layers = {1}, .query_heads = counted(heads)}).hidden));
    CHECK(at::equal(hidden,
                    model.run({.layers = {1}, .heads = counted(model.config().layers[1].kv_heads)}).hidden));
    std::vector<MaskedLayer> expected(model.config().layers.size());
    expected[1].silent = counted(heads);
    check_near(hidden, model.expected(expected), tolerance);
    for (const Removal& removal : {layer, Removal{.layers = {1}, .query_heads = counted(heads)}}) {
      const RemovedCache cache = removed(model.split.cache(), model.config(), removal);
      CHECK(cache.layers[1].payload_bytes == 0);
      CHECK(cache.layers[0].payload_bytes > 0);
      CHECK(cache.key_zeros * static_cast<double>(cache.layers.size()) == cache.elements);
    }
    const auto errors = model.run(layer).output_error[1];
    for (const double error : errors) CHECK(error == doctest::Approx(1));
  }
}

TEST_CASE("[removal] a query head alone: its output is 0, and nothing is saved") {
  const Model model("llama_gqa");
  const Removal removal{.query_heads = {2}};
  std::vector<MaskedLayer> expected(2);
  for (MaskedLayer& layer : expected) layer.silent = {2};
  check_near(model.run(removal).hidden, model.expected(expected), tolerance);
  const RemovedCache cache = removed(model.split.cache(), model.config(), removal);
  const RemovedCache whole = removed(model.split.cache(), model.config(), {});
  CHECK(cache.layers[0].payload_bytes == whole.layers[0].payload_bytes);
  CHECK(cache.layers[0].positions.empty());
}

TEST_CASE("[removal] a key's channel adds nothing to q.k, a value's is 0 in the output") {
  for (const char* name : every_model) {
    CAPTURE(name);
    const Model model(name);
    std::vector<MaskedLayer> keys, values;
    for (size_t l = 0; l < model.config().layers.size(); ++l) {
      const std::vector<std::vector<int>> all(static_cast<size_t>(model.config().layers[l].heads), {1, 5});
      keys.push_back({.blind = all});
      values.push_back({.mute = all});
    }
    check_near(model.run({.channels = {1, 5}, .values = false}).hidden, model.expected(keys), tolerance);
    check_near(model.run({.channels = {1, 5}, .keys = false}).hidden, model.expected(values), tolerance);
    // In one head of one layer.
    std::vector<MaskedLayer> one(model.config().layers.size());
    one[0].blind.resize(static_cast<size_t>(model.config().layers[0].heads));
    one[0].mute = one[0].blind;
    for (int i = 0; i < model.group(0); ++i) {
      one[0].blind[static_cast<size_t>(i)] = {3};
      one[0].mute[static_cast<size_t>(i)] = {3};
    }
    check_near(model.run({.layers = {0}, .heads = {0}, .channels = {3}}).hidden, model.expected(one),
               tolerance);
  }
}

TEST_CASE("[removal] several at once: tokens, a query head and a channel") {
  const Model model("llama_gqa");
  std::vector<MaskedLayer> expected(2);
  for (MaskedLayer& layer : expected) {
    layer.gone = {{4, 5}, {4, 5}};
    layer.silent = {7};
    layer.blind.assign(8, {2});
    layer.mute.assign(8, {2});
  }
  check_near(model.run({.query_heads = {7}, .tokens = {4, 5}, .channels = {2}}).hidden,
             model.expected(expected), tolerance);
}

TEST_CASE("[removal] by hand: bytes, zeros and errors of channels and tokens") {
  const KvCache cache = by_hand();
  // Channel 0 of the keys: 1, 5, 9, 13 of 1 .. 16.
  const RemovedCache channel = removed(cache, shape_by_hand(1), {.channels = {0}, .values = false});
  CHECK(channel.layers[0].payload_bytes == 2 * (12 + 16));
  CHECK(channel.key_zeros == 4);
  CHECK(channel.value_zeros == 0);
  CHECK(channel.layers[0].key_error == doctest::Approx(std::sqrt((1 + 25 + 81 + 169) / 1496.0)));
  CHECK(channel.layers[0].value_error == 0);
  const RemovedCache token = removed(cache, shape_by_hand(1), {.tokens = {1}});
  CHECK(token.layers[0].payload_bytes == 2 * (12 + 12));
  CHECK(token.layers[0].metadata_bytes == 0);
  CHECK(token.layers[0].key_error == 0);  // of what is held
  CHECK(token.key_zeros == 4);
  ModelConfig windowed = shape_by_hand(1);
  windowed.layers[0].window = 3;
  CHECK(removed(cache, windowed, {.tokens = {1}}).layers[0].metadata_bytes == 4 * 3);
}

TEST_CASE(
    "[removal] by hand: small elements, strictly below, each side by its own largest; dense or bitmap") {
  const KvCache cache = by_hand();
  // Below 8: 1 .. 7 of 16; 8 itself stays. A bitmap of 16 bits and 9 elements is less than 16 elements.
  const RemovedCache half = removed(cache, shape_by_hand(1), {.threshold_percent = 50});
  CHECK(half.key_zeros == 7);
  CHECK(half.value_zeros == 7);
  CHECK(half.layers[0].payload_bytes == 2 * 2 * 9);
  CHECK(half.layers[0].metadata_bytes == 2 * 2);
  CHECK(half.layers[0].key_error == doctest::Approx(std::sqrt(140 / 1496.0)));
  CHECK(half.layers[0].key[0][1][2].item<float>() == 0);
  CHECK(half.layers[0].key[0][1][3].item<float>() == -8);
  // One element gone: the bitmap would take more than it saves.
  const RemovedCache little = removed(cache, shape_by_hand(1), {.threshold_percent = 12, .values = false});
  CHECK(little.key_zeros == 1);
  CHECK(little.value_zeros == 0);
  CHECK(little.layers[0].payload_bytes == 2 * 2 * 16);
  CHECK(little.layers[0].metadata_bytes == 0);
  const RemovedCache both =
      removed(cache, shape_by_hand(1), {.channels = {3}, .threshold_percent = 50, .values = false});
  // 12 elements are left of the channels, of which 1, 2, 3, 5, 6, 7 are small: 2 bytes of bitmap.
  CHECK(both.layers[0].payload_bytes == 2 * 6 + 2 * 16);
  CHECK(both.layers[0].metadata_bytes == 2);
  CHECK(both.key_zeros == 10);
}

TEST_CASE("[removal] indices that do not exist are refused, with those that do") {
  const Model model("llama_gqa");
  const auto message = [&](const Removal& removal) {
    return test::message_of<UsageError>([&] { removed(model.split.cache(), model.config(), removal); });
  };
  CHECK(holds(message({.layers = {2}}), "layer 2 does not exist; the model has layers 0 to 1"));
  CHECK(holds(message({.heads = {2}}), "KV heads 0 to 1"));
  CHECK(holds(message({.query_heads = {8}}), "query heads 0 to 7"));
  CHECK(holds(message({.channels = {12}}), "channels 0 to 11"));
  CHECK(message({.layers = {1, 0, 1}}) == "layer 1 is named twice");
  CHECK(message({.query_heads = {3, 3}}) == "query head 3 is named twice");
  CHECK(message({.tokens = {0, 2, 0}}) == "token 0 is named twice");
  CHECK(message({.channels = {7, 7}}) == "channel 7 is named twice");
  CHECK(holds(message({.tokens = {18}}), "tokens 0 to 17"));
  CHECK(holds(message({.tokens = {-1}}), "tokens 0 to 17"));
  CHECK(message({.tokens = {17}}).empty());
}
