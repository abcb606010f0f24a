// SPDX-License-Identifier: MIT
#include "kvviz/eval/sink_reuse.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/model/load.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

std::vector<int32_t> text(int64_t tokens, const ModelConfig& config) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 5 + 3) % config.vocabulary));
  return ids;
}

HeadFlags no_heads(const ModelConfig& config) {
  HeadFlags flags;
  for (const LayerConfig& layer : config.layers) flags.emplace_back(static_cast<size_t>(layer.heads), false);
  return flags;
}

/// Whole softmax matrices with the flagged heads' weights replaced.
at::Tensor reference(const Decoder& decoder, std::span<const int32_t> ids, SinkSubstitute substitute,
                     const HeadFlags& flags) {
  const at::Tensor input = at::empty({1, std::ssize(ids)}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  at::Tensor first;
  const auto attend = [&](const LayerQkv& x) {
    at::Tensor weights;
    eager_attention(x.query, x.key, x.value, x.spec, &weights);
    if (x.layer == 0) first = weights;
    at::Tensor changed = weights.clone();
    const auto& of_layer = flags[static_cast<size_t>(x.layer)];
    for (size_t h = 0; h < of_layer.size(); ++h) {
      if (!of_layer[h]) continue;
      at::Tensor head = changed[0][static_cast<int64_t>(h)];
      if (substitute == SinkSubstitute::first_layer)
        head.copy_(first[0][static_cast<int64_t>(h)]);
      else
        head.zero_();
      if (substitute == SinkSubstitute::first_key) head.select(1, 0).fill_(1);
    }
    const int64_t group = x.query.size(1) / x.key.size(1);
    return at::matmul(changed, x.value.repeat_interleave(group, 1));
  };
  return decoder.hidden(input, {}, attend)[0];
}

}  // namespace

TEST_CASE("[sink_reuse] replaced heads equal whole matrices with replaced weights; no head is the full run") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const Decoder& decoder = model.decoder;
    const auto ids = text(32, decoder.config());
    HeadFlags flags = no_heads(decoder.config());
    for (size_t l = 0; l < flags.size(); ++l)
      for (size_t h = 0; h < flags[l].size(); ++h) flags[l][h] = (l + h) % 3 == 1;
    const at::Tensor full = run_full(decoder, ids).hidden;
    for (const auto substitute :
         {SinkSubstitute::first_layer, SinkSubstitute::first_key, SinkSubstitute::zero}) {
      CAPTURE(name_of(substitute));
      CHECK(run_replaced(decoder, ids, substitute, no_heads(decoder.config())).hidden.equal(full));
      const at::Tensor got = run_replaced(decoder, ids, substitute, flags).hidden;
      test::check_near(got, reference(decoder, ids, substitute, flags), 2e-5);
      CHECK(got.sub(full).abs().max().item<double>() > 1e-3);
    }
  }
}

TEST_CASE("[sink_reuse] costs in closed form") {
  ModelConfig config{.hidden = 8, .gated_mlp = true};
  config.layers.assign(2, {.heads = 4, .kv_heads = 2, .head_dim = 2, .mlp_dim = 10});
  HeadFlags flags(2, {true, true, true, false});
  const double pairs = 10, head = 4 * 2 * pairs;  // 4 tokens
  const AttentionCost full = attention_cost(config, 4);
  CHECK(full.flops == 8 * head);
  CHECK(full.cache_bytes == 2 * 2 * 4 * 2 * 8);
  CHECK(full.model_flops == full.flops + 2 * 2 * 4 * 8 * (12 * 2 + 3 * 10));
  const AttentionCost zero = attention_cost(config, 4, SinkSubstitute::zero, flags);
  CHECK(zero.flops == full.flops - 6 * head);
  CHECK(zero.cache_bytes == full.cache_bytes - 2 * 8 * 4 * 2);  // one whole KV group a layer
  const AttentionCost key = attention_cost(config, 4, SinkSubstitute::first_key, flags);
  CHECK(key.cache_bytes == full.cache_bytes - 2 * 8 * 3 * 2);
  const AttentionCost pattern = attention_cost(config, 4, SinkSubstitute::first_layer, flags);
  CHECK(pattern.flops == full.flops - 3 * head / 2);  // layer 0 stays
  CHECK(pattern.pattern_bytes == 4 * 16 * 3);
  CHECK(pattern.cache_bytes == full.cache_bytes - 4 * 4 * 2);
}

TEST_CASE("[sink_reuse] flags that do not fit the model are refused") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(4, model.decoder.config());
  CHECK_THROWS_AS(run_replaced(model.decoder, ids, SinkSubstitute::zero, {}), DataError);
  HeadFlags flags = no_heads(model.decoder.config());
  flags[0].pop_back();
  CHECK_THROWS_WITH_AS(run_replaced(model.decoder, ids, SinkSubstitute::zero, flags),
                       doctest::Contains("layer 0"), DataError);
}
