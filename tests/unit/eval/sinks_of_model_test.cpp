// SPDX-License-Identifier: MIT
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "kvviz/analysis/sinks.hpp"
#include "kvviz/model/load.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;

TEST_CASE(
    "[sinks] a model whose queries are zero attends evenly: alpha_1 = 0.0741233 at T = 64 in every head") {
  const LoadedModel model = load_model(std::filesystem::path(KVVIZ_FIXTURES) / "models" / "llama_gqa");
  ModelWeights weights = model.decoder.weights();
  for (LayerWeights& layer : weights.layers) layer.query.weight = at::zeros_like(layer.query.weight);
  const Decoder decoder(model.decoder.config(), weights);
  const at::NoGradGuard no_grad;
  const at::Tensor ids = at::empty({1, 80}, at::kLong);
  for (int64_t i = 0; i < 80; ++i) ids.data_ptr<int64_t>()[i] = i * 7 % decoder.config().vocabulary;
  const std::vector<analysis::TokenKind> kinds(80, analysis::TokenKind::other);
  const analysis::SinkOptions options;
  int64_t heads = 0;
  decoder.hidden(ids, 0, [&](const LayerQkv& x) {
    std::vector<kernels::HeadAttention> measured;
    at::Tensor out =
        streaming_attention(x.query, x.key, x.value, x.spec, analysis::sink_request(options), &measured);
    const auto layer = analysis::sink_layer(
        x.layer, {.heads = measured, .kv_heads = x.key.size(1), .queries = 80, .keys = 80},
        analysis::norms_of({.key = x.key[0], .value = x.value[0]}), kinds, options);
    for (const auto& head : layer.heads) {
      CHECK(head.score[0] == doctest::Approx(0.0741233).epsilon(1e-5));
      ++heads;
    }
    return out;
  });
  CHECK(heads == 2 * decoder.config().layers.front().heads);
}
