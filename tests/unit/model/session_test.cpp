// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
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
  // All values are equal, so attention's output is, whatever the weights (methods 5.1, check 7). Learned
  // positions break it.
  const std::vector<int32_t> same(20, 7);
  for (const auto& [name, equal] : {std::pair("llama3_rope", true), std::pair("gpt2", false)}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    Session session(model.decoder);
    const at::Tensor hidden = session.extend(same);
    const double spread = hidden.sub(hidden[0]).abs().max().item<double>();
    CHECK((spread < 1e-4) == equal);
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
