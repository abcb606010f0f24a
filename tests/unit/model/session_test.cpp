// SPDX-License-Identifier: MIT
#include "kvviz/model/session.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/model/load.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {
const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
}

TEST_CASE("[session] a snapshot of a prefix stays what it was while decoding goes on") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = test::Expected(models / "llama_gqa" / "expected.safetensors").ids();
  Session session(model.decoder);
  session.extend(std::span(ids).first(10));
  const at::Tensor before = session.cache(10).layers[1].key.clone();
  for (size_t i = 10; i < ids.size(); ++i) session.extend(std::span(ids).subspan(i, 1));
  CHECK(session.tokens() == static_cast<int64_t>(ids.size()));
  CHECK(session.cache(10).layers[1].key.equal(before));
  CHECK(session.cache(12).layers[1].key.size(1) == 12);
}

TEST_CASE("[session] one repeated token under RoPE: the same hidden state at every position") {
  // All values are equal, so attention's output is, whatever the weights (methods 5.1, check 7): layer by
  // layer no position can be told from another. Learned positions break it.
  constexpr int64_t tokens = 30;
  const std::vector<int32_t> same(tokens, 7);
  for (const char* const name : {"llama", "llama_gqa", "llama_bias", "llama3_rope", "llama_linear_rope",
                                 "mistral", "qwen2", "qwen2_window", "gpt2", "gpt2_base_names"}) {
    CAPTURE(name);
    const bool learned = std::string(name).starts_with("gpt2");
    const LoadedModel model = load_model(models / name);
    Session session(model.decoder);
    int layers = 0;
    const at::Tensor hidden = session.extend(
        same, {.attention = {.statistics = true, .early_queries = tokens},
               .on_attention = [&](int, const std::vector<kernels::HeadAttention>& heads) {
                 // A layer of normalised rows: sum over k of (T - k + 1) alpha_k is T.
                 for (const kernels::HeadAttention& head : heads)
                   CHECK(std::accumulate(head.early_mass.begin(), head.early_mass.end(), 0.0) ==
                         doctest::Approx(static_cast<double>(tokens)).epsilon(1e-6));
                 ++layers;
               }});
    CHECK(layers == std::ssize(model.decoder.config().layers));
    const double size = hidden.abs().max().item<double>();
    const double spread = hidden.sub(hidden[0]).abs().max().item<double>() / size;
    const at::Tensor values = session.cache(tokens).layers.back().value;
    const double value_spread =
        values.sub(values.narrow(1, 0, 1)).abs().max().item<double>() / values.abs().max().item<double>();
    if (learned) {
      CHECK(spread > 0.01);
      CHECK(value_spread > 0.01);
    } else {
      CHECK(spread < 5e-6);  // rounding of f32
      CHECK(value_spread < 5e-6);
    }
  }
}

TEST_CASE("[session] ids outside the vocabulary and positions beyond learned ones are refused") {
  const LoadedModel model = load_model(models / "gpt2");
  const std::vector<int32_t> wrong{1, 2, 1000000}, negative{-1};
  CHECK_THROWS_AS(Session(model.decoder).extend(wrong), DataError);
  CHECK_THROWS_AS(Session(model.decoder).extend(negative), DataError);
  CHECK_THROWS_AS(Session(model.decoder).extend(std::vector<int32_t>{}), DataError);
  const std::vector<int32_t> longer(static_cast<size_t>(model.decoder.config().context) + 1, 1);
  CHECK_THROWS_WITH_AS(Session(model.decoder).extend(longer), doctest::Contains("positions"), DataError);
}

TEST_CASE(
    "[session] a long stretch in pieces is the whole one: cache, hidden states, and the last piece alone") {
  // Longer than two pieces; the probe makes the other session run it as one.
  const LoadedModel model = load_model(models / "llama_gqa");
  std::vector<int32_t> ids(2 * Session::piece_tokens + 100);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * i + 3 * i) % 97);
  const auto tokens = static_cast<int64_t>(ids.size());
  Session pieces(model.decoder), whole(model.decoder), last(model.decoder);
  int layers = 0;
  const at::Tensor hidden = pieces.extend(ids, {.on_layer = [&] { ++layers; }});
  CHECK(layers == 3 * std::ssize(model.decoder.config().layers));
  CHECK(Session::pieces(tokens, {}) == 3);
  const at::Tensor expected = whole.extend(ids, {.probe = [](Site, int, const at::Tensor&) {}});
  test::check_near(hidden, expected, 1e-5);
  const at::Tensor tail = last.extend(ids, {.all_hidden = false});
  REQUIRE(tail.size(0) == 100);
  CHECK(tail.equal(hidden.narrow(0, tokens - 100, 100)));
  for (size_t l = 0; l < model.decoder.config().layers.size(); ++l) {
    test::check_near(pieces.cache(tokens).layers[l].key, whole.cache(tokens).layers[l].key, 1e-5);
    test::check_near(pieces.cache(tokens).layers[l].value, whole.cache(tokens).layers[l].value, 1e-5);
  }
}
