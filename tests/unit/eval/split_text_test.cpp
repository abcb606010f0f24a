// SPDX-License-Identifier: MIT
#include "kvviz/eval/split_text.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
constexpr int64_t tokens = 32, prefix = 18;

std::vector<int32_t> text(const ModelConfig& config) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 5 + 3) % config.vocabulary));
  return ids;
}

/// The cache as it is.
std::vector<ChangedLayer> same(const KvCache& cache) {
  std::vector<ChangedLayer> layers;
  for (const LayerKv& layer : cache.layers) layers.push_back({.key = layer.key, .value = layer.value});
  return layers;
}

/// Another cache of the same shapes.
std::vector<ChangedLayer> changed(const KvCache& cache) {
  std::vector<ChangedLayer> layers = same(cache);
  for (ChangedLayer& layer : layers) {
    layer.key = layer.key.mul(0.9).add(at::rand(layer.key.sizes()), 0.1);
    layer.value = layer.value.mul(1.1);
  }
  return layers;
}

/// The whole text at once, the prefix's keys and values put in place of those that the model computes: rows
/// of the continuation depend on nothing else of the prefix.
at::Tensor in_one_pass(const Decoder& decoder, const std::vector<int32_t>& ids,
                       std::span<const ChangedLayer> layers) {
  const at::Tensor input = at::empty({1, tokens}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  const auto attend = [&](const LayerQkv& x) {
    const ChangedLayer& layer = layers[static_cast<size_t>(x.layer)];
    LayerQkv replaced = x;
    const auto after = [](const at::Tensor& t) { return t.narrow(2, prefix, tokens - prefix); };
    replaced.key = at::cat({layer.key.unsqueeze(0), after(x.key)}, 2);
    replaced.value = at::cat({layer.value.unsqueeze(0), after(x.value)}, 2);
    return eager_attention(replaced.query, replaced.key, replaced.value, x.spec);
  };
  return decoder.hidden(input, {}, attend)[0].narrow(0, prefix, tokens - prefix);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = a.sub(b).abs().max();
  return difference.data_ptr<float>()[0];
}

}  // namespace

TEST_CASE("[split_text] the cache as it is changes nothing, bit for bit") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const SplitText split(model.decoder, ids, prefix);
    CHECK(split.continuation().size() == tokens - prefix);
    const ContinuedRun run = split.run(same(split.cache()));
    CHECK(at::equal(run.hidden, split.hidden()));
    REQUIRE(run.output_error.size() == model.decoder.config().layers.size());
    for (const auto& heads : run.output_error)
      for (const double error : heads) CHECK(error == 0);
    // And is what a session over all of it computes.
    Session session(model.decoder);
    const at::Tensor all = session.extend(ids);
    CHECK(largest_difference(all.narrow(0, prefix, tokens - prefix), split.hidden()) < 1e-4);
  }
}

TEST_CASE("[split_text] a changed cache is what the continuation attends to") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const SplitText split(model.decoder, ids, prefix);
    const auto layers = changed(split.cache());
    const ContinuedRun run = split.run(layers);
    const at::Tensor expected = in_one_pass(model.decoder, ids, layers);
    CHECK(largest_difference(run.hidden, expected) < 1e-4);
    for (const auto& heads : run.output_error) {
      CHECK(std::ssize(heads) == model.decoder.config().layers.front().heads);
      for (const double error : heads) CHECK(error > 0);
    }
  }
}

TEST_CASE(
    "[split_text] the first layer's outputs are linear in its values: twice the change, twice the error") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(model.decoder.config());
  const SplitText split(model.decoder, ids, prefix);
  const auto first_errors = [&](double factor) {
    std::vector<ChangedLayer> layers = same(split.cache());
    layers.front().value = layers.front().value.mul(factor);
    return split.run(layers).output_error.front();
  };
  const auto once = first_errors(1.1), twice = first_errors(1.2);
  for (size_t head = 0; head < once.size(); ++head) {
    CHECK(once[head] > 0);
    CHECK(twice[head] == doctest::Approx(2 * once[head]).epsilon(1e-4));
  }
}

TEST_CASE("[split_text] what does not fit is refused") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(model.decoder.config());
  CHECK_THROWS_AS(SplitText(model.decoder, ids, 0), UsageError);
  CHECK_THROWS_AS(SplitText(model.decoder, ids, tokens - 1), UsageError);
  const SplitText split(model.decoder, ids, prefix);
  std::vector<ChangedLayer> layers = same(split.cache());
  layers.back().key = layers.back().key.narrow(1, 0, prefix - 1);
  CHECK_THROWS_AS(split.run(layers), DataError);
  layers.pop_back();
  CHECK_THROWS_AS(split.run(layers), DataError);
}

TEST_CASE(
    "[split_text] keys before RoPE: as they are, nothing changes; changed, they are rotated on reading") {
  for (const char* name : {"llama_gqa", "mistral"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const SplitText plain(model.decoder, ids, prefix, KeyBasis::pre_rope);
    CHECK(at::equal(plain.run(same(plain.cache())).hidden, plain.hidden()));
    const SplitText rotated(model.decoder, ids, prefix);
    CHECK_FALSE(at::equal(plain.cache().layers[0].key, rotated.cache().layers[0].key));
    // RoPE is linear: half of a key before it is half of the key behind it.
    std::vector<ChangedLayer> before = same(plain.cache()), behind = same(rotated.cache());
    for (ChangedLayer& layer : before) layer.key = layer.key.mul(0.5);
    for (ChangedLayer& layer : behind) layer.key = layer.key.mul(0.5);
    CHECK(largest_difference(plain.run(before).hidden, rotated.run(behind).hidden) < 1e-5);
  }
}

TEST_CASE("[split_text] held keys before RoPE are rotated to where they stood") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(model.decoder.config());
  const SplitText plain(model.decoder, ids, prefix, KeyBasis::pre_rope);
  const SplitText rotated(model.decoder, ids, prefix);
  const auto cut = [](const KvCache& cache) {
    std::vector<ChangedLayer> layers;
    for (const LayerKv& layer : cache.layers) {
      const auto rows = [](const at::Tensor& x) {
        return at::cat({x.narrow(1, 0, 2), x.narrow(1, 9, 5)}, 1);
      };
      layers.push_back({.key = rows(layer.key), .value = rows(layer.value)});
      layers.back().positions.assign(static_cast<size_t>(layer.kv_heads()), {0, 1, 9, 10, 11, 12, 13});
    }
    return layers;
  };
  CHECK(largest_difference(plain.run(cut(plain.cache())).hidden, rotated.run(cut(rotated.cache())).hidden) <
        1e-5);
}
