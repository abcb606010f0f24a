// SPDX-License-Identifier: MIT
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/model/load.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;

namespace {

constexpr int64_t tokens = 80;

/// The sinks of every layer of a model on 80 tokens.
std::vector<analysis::LayerSinks> sinks_of(const Decoder& decoder, const analysis::SinkOptions& options) {
  const at::NoGradGuard no_grad;
  const at::Tensor ids = at::empty({1, tokens}, at::kLong);
  for (int64_t i = 0; i < tokens; ++i) ids.data_ptr<int64_t>()[i] = i * 7 % decoder.config().vocabulary;
  const std::vector<analysis::TokenKind> kinds(tokens, analysis::TokenKind::other);
  std::vector<analysis::LayerSinks> layers;
  decoder.hidden(ids, {}, [&](const LayerQkv& x) {
    std::vector<kernels::HeadAttention> measured;
    at::Tensor out =
        streaming_attention(x.query, x.key, x.value, x.spec, analysis::sink_request(options), &measured);
    layers.push_back(analysis::sink_layer(x.layer,
                                          {.heads = measured,
                                           .kv_heads = x.key.size(1),
                                           .queries = tokens,
                                           .keys = tokens,
                                           .window = x.spec.window},
                                          analysis::norms_of({.key = x.key[0], .value = x.value[0]}), kinds,
                                          options));
    return out;
  });
  return layers;
}

LoadedModel fixture(const char* name) {
  return load_model(std::filesystem::path(KVVIZ_FIXTURES) / "models" / name);
}

}  // namespace

TEST_CASE(
    "[sinks] a model whose queries are zero attends evenly: alpha_1 = 0.0741233 at T = 64 in every head, no "
    "sink") {
  for (const char* const name : {"llama_gqa", "llama3_rope", "qwen2"}) {
    CAPTURE(name);
    const LoadedModel model = fixture(name);
    ModelWeights weights = model.decoder.weights();
    for (LayerWeights& layer : weights.layers) {
      layer.query.weight = at::zeros_like(layer.query.weight);
      if (layer.query.bias.defined()) layer.query.bias = at::zeros_like(layer.query.bias);
    }
    const Decoder decoder(model.decoder.config(), weights);
    CHECK(model.decoder.weights().layers[0].query.bias.defined() == (std::string(name) == "qwen2"));
    const auto layers = sinks_of(decoder, {});
    REQUIRE(layers.size() == decoder.config().layers.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      REQUIRE(std::ssize(layers[l].heads) == decoder.config().layers[l].heads);
      for (const auto& head : layers[l].heads) {
        CHECK(head.score[static_cast<size_t>(analysis::SinkMetric::alpha)] ==
              doctest::Approx(0.0741233).epsilon(1e-6));
        CHECK(head.score[static_cast<size_t>(analysis::SinkMetric::ratio)] ==
              doctest::Approx(1).epsilon(1e-5));
        CHECK(std::abs(head.score[static_cast<size_t>(analysis::SinkMetric::excess)]) < 1e-6);
        CHECK(head.sink_keys.empty());
      }
    }
    const analysis::PromptSinks prompt = analysis::prompt_sinks(name, layers, {}, {});
    analysis::SinkStudy study{.prompts = {prompt}};
    for (const auto& layer : layers)
      for (const auto& head : layer.heads) study.heads.push_back({head.layer, head.head, head.kv_head});
    CHECK(analysis::summarise(study, {analysis::SinkMetric::alpha, 0.3}, {}).rate.mean == 0);
  }
}

TEST_CASE("[sinks] sum over k of (T - k + 1) alpha_k is T in every head of a model") {
  const LoadedModel model = fixture("mistral");  // its window is 7 tokens
  constexpr int64_t length = 24;
  std::vector<std::vector<double>> sums;
  for (int64_t k = 1; k <= length; ++k) {
    const auto layers = sinks_of(model.decoder, {.tokens = length, .k = k});
    sums.resize(layers.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      sums[l].resize(layers[l].heads.size());
      for (size_t h = 0; h < layers[l].heads.size(); ++h)
        sums[l][h] += static_cast<double>(length - k + 1) * layers[l].heads[h].score[0];
    }
  }
  REQUIRE(!sums.empty());
  for (const auto& layer : sums)
    for (const double sum : layer) CHECK(sum == doctest::Approx(static_cast<double>(length)).epsilon(1e-6));
}
