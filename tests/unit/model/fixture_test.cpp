// SPDX-License-Identifier: MIT
#include <ATen/ops/empty.h>
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

// The bound for f32 against transformers; the fixtures themselves are within 3.1e-6 of a float64
// forward.
constexpr double tolerance = 2e-5;

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator(models))
    if (entry.is_directory()) all.push_back(entry.path().filename());
  return all;
}

at::Tensor exact_attention(const std::vector<kernels::HeadAttention>& heads, int64_t tokens) {
  at::Tensor all = at::empty({static_cast<int64_t>(heads.size()), tokens, tokens});
  for (size_t h = 0; h < heads.size(); ++h) {
    REQUIRE(heads[h].exact.size() == static_cast<size_t>(tokens * tokens));
    std::copy(heads[h].exact.begin(), heads[h].exact.end(), all[static_cast<int64_t>(h)].data_ptr<float>());
  }
  return all;
}

void check_cache(const Session& session, const test::Expected& expected, int64_t tokens) {
  const KvCache cache = session.cache(tokens);
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    test::check_near(cache.layers[l].key, expected.tensor(cat("key.", l)), tolerance);
    test::check_near(cache.layers[l].value, expected.tensor(cat("value.", l)), tolerance);
  }
}

}  // namespace

TEST_CASE("[model] every fixture is here") {
  CHECK(names().size() >= 17);
}

TEST_CASE("[model] prefill agrees with transformers: logits, K, V, attention, layer outputs") {
  for (const std::string& name : names()) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const test::Expected expected(models / name / "expected.safetensors");
    const auto ids = expected.ids();
    const auto tokens = static_cast<int64_t>(ids.size());
    Session session(model.decoder);
    Session::Watch watch;
    watch.attention.statistics = true;
    for (int64_t h = 0; h < model.decoder.config().layers.front().heads; ++h)
      watch.attention.exact_heads.push_back(h);
    int layers = 0;
    watch.on_attention = [&](int layer, std::vector<kernels::HeadAttention> heads) {
      test::check_near(exact_attention(heads, tokens), expected.tensor(cat("attention.", layer)), tolerance);
      ++layers;
    };
    watch.probe = [&](Site site, int layer, const at::Tensor& x) {
      if (site == Site::layer_out) test::check_near(x[0], expected.tensor(cat("hidden.", layer)), tolerance);
    };
    const at::Tensor hidden = session.extend(ids, watch);
    CHECK(layers == static_cast<int>(model.decoder.config().layers.size()));
    test::check_near(model.decoder.logits(hidden), expected.tensor("logits"), tolerance);
    check_cache(session, expected, tokens);
  }
}

TEST_CASE("[model] step by step agrees with transformers, and every probe fires as in prefill") {
  for (const std::string& name : names()) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const test::Expected expected(models / name / "expected.safetensors");
    const auto ids = expected.ids();
    Session session(model.decoder);
    for (size_t i = 0; i < ids.size(); ++i) {
      int fired = 0;
      Session::Watch watch;
      watch.probe = [&](Site, int, const at::Tensor&) { ++fired; };
      const at::Tensor hidden = session.extend(std::span(ids).subspan(i, 1), watch);
      CHECK(fired == 6 * static_cast<int>(model.decoder.config().layers.size()));
      test::check_near(model.decoder.logits(hidden)[0], expected.tensor("logits")[static_cast<int64_t>(i)],
                       tolerance);
    }
    check_cache(session, expected, static_cast<int64_t>(ids.size()));
  }
}

TEST_CASE("[model] scores agree with the log-softmax of transformers' logits") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const test::Expected expected(models / "llama_gqa" / "expected.safetensors");
  const auto ids = expected.ids();
  Session session(model.decoder);
  const TokenScores scores = score(model.decoder, session.extend(ids), ids);
  const at::Tensor logp = expected.tensor("logits").to(at::kDouble).log_softmax(-1);
  REQUIRE(scores.nll.size() == ids.size() - 1);
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    CHECK(scores.nll[i] ==
          doctest::Approx(-logp[static_cast<int64_t>(i)][ids[i + 1]].item<double>()).epsilon(1e-4));
    CHECK(scores.top1[i] == (logp[static_cast<int64_t>(i)].argmax().item<int64_t>() == ids[i + 1]));
  }
}

TEST_CASE("[model] stories260K, a trained model, agrees with llama2.c" * doctest::test_suite("refdata")) {
  const fs::path folder = fs::path(KVVIZ_REFDATA) / "stories260K-hf";
  REQUIRE(fs::exists(folder));
  const LoadedModel model = load_model(folder);
  const test::Expected golden(folder / "golden_greedy96.safetensors");
  const auto ids = golden.ids();
  Session session(model.decoder);
  const at::Tensor hidden = session.extend(ids);
  test::check_near(model.decoder.logits(hidden), golden.tensor("logits"), tolerance);
  const KvCache cache = session.cache(static_cast<int64_t>(ids.size()));
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    test::check_near(cache.layers[l].key, golden.tensor(cat("k.", l)), tolerance);
    test::check_near(cache.layers[l].value, golden.tensor(cat("v.", l)), tolerance);
  }
  // The text was decoded greedily, so each token is the most likely one after its prefix.
  for (size_t i = 1; i < ids.size(); ++i)
    CHECK(next_token(model.decoder, hidden.narrow(0, 0, static_cast<int64_t>(i))) == ids[i]);
}
