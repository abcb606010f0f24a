// SPDX-License-Identifier: MIT
#include "kvviz/eval/quantisation_errors.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/model/load.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const AttentionSpec plain;

}  // namespace

TEST_CASE("[attention_errors] by hand: two keys, one query") {
  // Logits 0 and 0 are weights 1/2, 1/2; with a second key of ln 3 they are 1/4, 3/4.
  const LayerAttention exact{plain, at::ones({1, 1, 1}), at::zeros({1, 2, 1}),
                             at::tensor({4.0F, 8.0F}).view({1, 2, 1})};
  const at::Tensor key = at::tensor({0.0F, std::log(3.0F)}).view({1, 2, 1});
  const AttentionErrors errors = attention_errors(exact, key, exact.value);
  CHECK(errors.weight_error == doctest::Approx(0.5));
  CHECK(errors.output_error == doctest::Approx(1.0 / 6));  // 6 becomes 7
  CHECK(errors.value_error == 0);
  CHECK(errors.sparsity == 0);
  const AttentionErrors doubled = attention_errors(exact, exact.key, exact.value.mul(2));
  CHECK(doubled.weight_error == 0);
  CHECK(doubled.output_error == doctest::Approx(1));
  CHECK(doubled.value_error == doctest::Approx(1));
}

TEST_CASE("[attention_errors] sparsity counts visible keys below 1 % of the greatest weight") {
  // Query 0 sees key 0 alone; query 1 sees both, with weights 1 : e^-5 = 0.0067.
  const LayerAttention exact{plain, at::ones({1, 2, 1}), at::tensor({0.0F, -5.0F}).view({1, 2, 1}),
                             at::ones({1, 2, 1})};
  CHECK(attention_errors(exact, exact.key, exact.value).sparsity == doctest::Approx(1.0 / 3));
}

TEST_CASE("[attention_errors] every head has its own slope under ALiBi") {
  // Without products logits are the bias: weights 1, and e^-s : 1. A second key of ln 3 makes them e^-s : 3.
  const std::vector<float> slopes{1.0F, 0.25F};
  const AttentionSpec spec{.alibi_slopes = slopes};
  const LayerAttention exact{spec, at::ones({2, 1, 1}), at::zeros({1, 2, 1}),
                             at::tensor({4.0F, 8.0F}).view({1, 2, 1})};
  const at::Tensor key = at::tensor({0.0F, std::log(3.0F)}).view({1, 2, 1});
  double off = 0, size = 0;
  for (const float slope : slopes) {
    const double e = std::exp(-static_cast<double>(slope)), before = e / (1 + e), after = e / (3 + e);
    off += 2 * (after - before) * (after - before);
    size += before * before + (1 - before) * (1 - before);
  }
  CHECK(attention_errors(exact, key, exact.value).weight_error == doctest::Approx(std::sqrt(off / size)));
}

TEST_CASE("[attention_errors] of a model: what is exact gives 0, each layer's errors are its own") {
  const LoadedModel model = load_model(fs::path(KVVIZ_FIXTURES) / "models" / "llama_gqa");
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 20; ++i)
    ids.push_back(static_cast<int32_t>((i * 11 + 2) % model.decoder.config().vocabulary));
  const std::vector<ChangeKv> changes{[](const at::Tensor& key, const at::Tensor& value) {
                                        return std::pair{key, value};
                                      },
                                      [](const at::Tensor& key, const at::Tensor& value) {
                                        return std::pair{key, value.mul(1.25)};
                                      }};
  const auto errors = attention_errors(model.decoder, ids, 10, changes);
  REQUIRE(errors.size() == 2);
  for (const AttentionErrors& layer : errors[0]) {
    CHECK(layer.key_error == 0);
    CHECK(layer.weight_error == 0);
    CHECK(layer.output_error == 0);
  }
  REQUIRE(errors[1].size() == model.decoder.config().layers.size());
  for (const AttentionErrors& layer : errors[1]) CHECK(layer.output_error == doctest::Approx(0.25));
  CHECK_THROWS_AS(attention_errors(model.decoder, ids, 20, changes), UsageError);
}
