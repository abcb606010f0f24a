// SPDX-License-Identifier: MIT
#include "kvviz/eval/written_text.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
constexpr int64_t tokens = 24;

std::vector<int32_t> text(const ModelConfig& config) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 7 + 1) % config.vocabulary));
  return ids;
}

/// A change of every token by itself.
at::Tensor coarse(const at::Tensor& x) {
  return x.mul(8).round().div(8);
}

/// Token by token: each is coded before its own query reads it.
at::Tensor step_by_step(const Decoder& decoder, const std::vector<int32_t>& ids) {
  const size_t layers = decoder.config().layers.size();
  std::vector<at::Tensor> keys(layers), values(layers), hidden;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto attend = [&](const LayerQkv& x) {
      const auto l = static_cast<size_t>(x.layer);
      const at::Tensor key = coarse(x.key), value = coarse(x.value);
      keys[l] = t == 0 ? key : at::cat({keys[l], key}, 2);
      values[l] = t == 0 ? value : at::cat({values[l], value}, 2);
      return eager_attention(x.query, keys[l], values[l], x.spec);
    };
    const at::Tensor id = at::empty({1, 1}, at::kLong);
    id.data_ptr<int64_t>()[0] = ids[static_cast<size_t>(t)];
    hidden.push_back(decoder.hidden(id, {t}, attend)[0]);
  }
  return at::cat(hidden);
}

}  // namespace

TEST_CASE("[written_text] one pass computes what a decoder does that codes each token when it comes") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const WrittenText written(model.decoder, ids);
    const ContinuedRun run = written.run([](size_t, const LayerKv& layer) {
      return std::pair{coarse(layer.key), coarse(layer.value)};
    });
    const at::Tensor difference = run.hidden.sub(step_by_step(model.decoder, ids)).abs().max();
    CHECK(difference.data_ptr<float>()[0] < 1e-4);
    REQUIRE(run.output_error.size() == model.decoder.config().layers.size());
    for (const double error : run.output_error.front()) CHECK(error > 0);
  }
}

TEST_CASE("[written_text] tokens as they are change nothing, bit for bit, before RoPE and behind it") {
  for (const KeyBasis basis : {KeyBasis::pre_rope, KeyBasis::post_rope}) {
    const LoadedModel model = load_model(models / "llama_gqa");
    const auto ids = text(model.decoder.config());
    const WrittenText written(model.decoder, ids, basis);
    const auto same = [](size_t, const LayerKv& layer) { return std::pair{layer.key, layer.value}; };
    const ContinuedRun run = written.run(same);
    CHECK(at::equal(run.hidden, written.hidden()));
    for (const auto& heads : run.output_error)
      for (const double error : heads) CHECK(error == 0);
    Session session(model.decoder);
    CHECK(at::equal(session.extend(ids), written.hidden()));
  }
}
