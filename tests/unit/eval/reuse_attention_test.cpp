// SPDX-License-Identifier: MIT
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

#include "kvviz/attention/alibi.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/eval/sink_reuse.hpp"
#include "support/fixture.hpp"

using namespace kvviz;

namespace {

constexpr int64_t heads = 8, kv_heads = 2, head_dim = 5, group = heads / kv_heads;

ModelConfig two_layers(int64_t first_window, int64_t second_window) {
  ModelConfig config{.hidden = 8};
  config.layers.assign(2, {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .mlp_dim = 10});
  config.layers[0].window = first_window;
  config.layers[1].window = second_window;
  return config;
}

LayerQkv random_layer(int layer, int64_t tokens, int64_t window) {
  LayerQkv x{.layer = layer, .spec = {.scale = 0.7, .window = window}};
  // The decoder's layout: tokens outside, heads inside.
  x.query = at::randn({1, tokens, heads, head_dim}).transpose(1, 2);
  x.key = at::randn({1, tokens, kv_heads, head_dim}).transpose(1, 2);
  x.value = at::randn({1, tokens, kv_heads, head_dim}).transpose(1, 2);
  return x;
}

at::Tensor full(const LayerQkv& x) {
  return streaming_attention(x.query, x.key, x.value, x.spec, {}, nullptr);
}

/// KV head 0 keeps query heads 1 and 3, KV head 1 keeps one of its own: groups of different sizes.
const HeadFlags flags{{true, false, false, false, false, false, false, false},
                      {true, false, true, false, true, true, true, false}};

}  // namespace

TEST_CASE("[sink_reuse] heads that are kept are bit for bit those of full attention, whatever their groups") {
  for (const int64_t tokens : {1, 5, 49, 300}) {
    for (const auto substitute :
         {SinkSubstitute::first_layer, SinkSubstitute::first_key, SinkSubstitute::zero}) {
      CAPTURE(tokens);
      CAPTURE(name_of(substitute));
      const AttentionFn attend = make_reuse_attention(two_layers(0, 0), substitute, flags);
      for (int layer = 0; layer < 2; ++layer) {
        LayerQkv x = random_layer(layer, tokens, 0);
        if (tokens > 5) x.spec.alibi_slopes = alibi_slopes(heads);  // of heads that are taken out of order
        const at::Tensor got = attend(x), want = full(x);
        REQUIRE(got.sizes() == want.sizes());
        const bool untouched = layer == 0 && substitute == SinkSubstitute::first_layer;
        for (int64_t h = 0; h < heads; ++h) {
          CAPTURE(h);
          if (untouched)
            test::check_near(got[0][h], want[0][h], 1e-6);  // measured on the way
          else if (!flags[static_cast<size_t>(layer)][static_cast<size_t>(h)])
            CHECK(got[0][h].equal(want[0][h]));
          else if (substitute == SinkSubstitute::first_key)
            CHECK(got[0][h].equal(x.value[0][h / group].narrow(0, 0, 1).expand({tokens, head_dim})));
          else if (substitute == SinkSubstitute::zero)
            CHECK(got[0][h].count_nonzero().item<int64_t>() == 0);
        }
      }
    }
  }
}

TEST_CASE("[sink_reuse] the first layer's pattern times the values, in double, with and without windows") {
  struct Case {
    int64_t tokens, first_window, second_window;
  };
  for (const auto& [tokens, first_window, second_window] :
       {Case{1, 0, 0}, {7, 0, 3}, {48, 0, 0}, {100, 9, 0}, {600, 0, 0}, {600, 70, 30}}) {
    CAPTURE(tokens);
    CAPTURE(first_window);
    const AttentionFn attend =
        make_reuse_attention(two_layers(first_window, second_window), SinkSubstitute::first_layer, flags);
    for (int pass = 0; pass < 2; ++pass) {  // one function serves text after text
      const LayerQkv first = random_layer(0, tokens, first_window);
      const LayerQkv second = random_layer(1, tokens, second_window);
      at::Tensor weights;
      eager_attention(first.query.to(at::kDouble), first.key.to(at::kDouble), first.value.to(at::kDouble),
                      first.spec, &weights);
      attend(first);
      const at::Tensor got = attend(second);
      for (int64_t h = 0; h < heads; ++h) {
        CAPTURE(h);
        if (flags[1][static_cast<size_t>(h)])
          test::check_near(got[0][h], at::matmul(weights[0][h], second.value[0][h / group].to(at::kDouble)),
                           2e-6);
      }
    }
  }
}

TEST_CASE("[sink_reuse] patterns beyond the limit are refused with their size, before they are made") {
  const LayerQkv first = random_layer(0, 100, 0);
  const int64_t bytes = 5 * 4 * 100 * 100;  // five head indices are replaced in layer 1
  const auto attend = [&](int64_t limit) {
    make_reuse_attention(two_layers(0, 0), SinkSubstitute::first_layer, flags, limit)(first);
  };
  CHECK_NOTHROW(attend(bytes));
  CHECK_THROWS_WITH_AS(attend(bytes - 1), doctest::Contains("200000 bytes"), DataError);
}

TEST_CASE("[sink_reuse] layers with different query heads cannot share patterns") {
  ModelConfig config = two_layers(0, 0);
  config.layers[1].heads = 4;
  const HeadFlags fitting{flags[0], {true, false, false, false}};
  CHECK_THROWS_WITH_AS(make_reuse_attention(config, SinkSubstitute::first_layer, fitting),
                       doctest::Contains("layer 1"), DataError);
  CHECK_NOTHROW(make_reuse_attention(config, SinkSubstitute::zero, fitting));
}

TEST_CASE("[sink_reuse] time is added up over calls") {
  double seconds = 1;
  int calls = 0;
  const AttentionFn attend = timed_attention(
      [&](const LayerQkv& x) {
        ++calls;
        return full(x);
      },
      seconds);
  const LayerQkv x = random_layer(0, 200, 0);
  CHECK(attend(x).equal(full(x)));
  const double once = seconds;
  attend(x);
  CHECK(once > 1);
  CHECK(seconds > once);
  CHECK(calls == 2);
}

TEST_CASE("[sink_reuse] costs equal pairs and entries counted one by one") {
  const int64_t tokens = 11;
  for (const auto& [first_window, second_window] :
       {std::pair<int64_t, int64_t>{0, 0}, {4, 0}, {0, 3}, {20, 5}}) {
    CAPTURE(first_window);
    CAPTURE(second_window);
    const ModelConfig config = two_layers(first_window, second_window);
    const HeadFlags whole_group{{true, true, true, true, false, false, false, true},
                                {false, true, false, false, true, true, true, true}};
    const auto pairs = [&](size_t layer) {
      double count = 0;
      const int64_t window = config.layers[layer].window;
      for (int64_t i = 0; i < tokens; ++i)
        for (int64_t j = 0; j <= i; ++j) count += window == 0 || i - j < window;
      return count;
    };
    const auto entries = [&](size_t layer) {  // keys that the last query sees
      const int64_t window = config.layers[layer].window;
      return static_cast<double>(window == 0 ? tokens : std::min(tokens, window));
    };
    const double product = 2 * head_dim, bytes = 4 * head_dim;
    const double full_flops = 2 * heads * product * (pairs(0) + pairs(1));
    const double full_bytes = 2 * kv_heads * bytes * (entries(0) + entries(1));
    const AttentionCost cost = attention_cost(config, tokens);
    CHECK(cost.flops == full_flops);
    CHECK(cost.cache_bytes == full_bytes);
    CHECK(cost.pattern_bytes == 0);

    const AttentionCost zero = attention_cost(config, tokens, SinkSubstitute::zero, whole_group);
    CHECK(zero.flops == full_flops - 5 * 2 * product * (pairs(0) + pairs(1)));
    CHECK(zero.cache_bytes == full_bytes - 2 * bytes * (entries(0) + entries(1)));
    CHECK(cost.model_flops - zero.model_flops == cost.flops - zero.flops);

    const AttentionCost key = attention_cost(config, tokens, SinkSubstitute::first_key, whole_group);
    CHECK(key.flops == zero.flops);
    CHECK(key.cache_bytes == zero.cache_bytes + 2 * 2 * bytes);

    const AttentionCost pattern = attention_cost(config, tokens, SinkSubstitute::first_layer, whole_group);
    CHECK(pattern.flops == full_flops - 5 * product * (2 * pairs(1) - pairs(0)));
    CHECK(pattern.cache_bytes == full_bytes - bytes * (2 * entries(1) - entries(0)));
    CHECK(pattern.pattern_bytes == 5 * 4 * tokens * tokens);
  }
}
