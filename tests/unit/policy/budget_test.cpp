// SPDX-License-Identifier: MIT
#include "kvviz/policy/budget.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "kvviz/policy/policy.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using policy::find_policy;
using policy::PolicyOptions;
using policy::pyramid_budgets;
using policy::Split;
using test::holds;
using test::message_of;

namespace {

bool same(const Split& got, const Split& want) {
  return got.sinks == want.sinks && got.recent == want.recent && got.heavy == want.heavy;
}

Split split(const char* name, int64_t budget, const PolicyOptions& options = {}) {
  return policy::split(find_policy(name), budget, options);
}

int64_t sum(const std::vector<int64_t>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), int64_t{0});
}

const kernels::ScanShape shape{.query_heads = 4, .kv_heads = 2, .head_dim = 8};

std::vector<int64_t> layer_budgets(const char* name, const PolicyOptions& options,
                                   const policy::LayerPlace& place) {
  std::vector<int64_t> budgets;
  for (const Split& one : policy::layer_splits(find_policy(name), options, shape, place))
    budgets.push_back(one.budget());
  return budgets;
}

}  // namespace

TEST_CASE("[budget] tokens and kept fractions") {
  CHECK(policy::parse_budget("256").tokens == 256);
  CHECK(policy::parse_budget("1").tokens == 1);
  CHECK(policy::parse_budget("0.25").fraction == 0.25);
  CHECK(policy::parse_budget("1.0").fraction == 1);
  CHECK(policy::parse_budget("1.0").tokens == 0);
  CHECK(policy::parse_budget("1e-1").fraction == 0.1);
  CHECK(policy::parse_budget("0.25").text == "0.25");
  for (const char* text : {"", "0", "-3", "0.0", "-0.5", "1.5", "1.0001", "nan", "inf", "12x", "0.5.1", " 5",
                           "+5", "25%", "99999999999999999999", "ten"}) {
    CAPTURE(text);
    CHECK(message_of<UsageError>([&] { return policy::parse_budget(text); }) ==
          "[budget] got '" + std::string(text) +
              "', expected a number of tokens (256) or a kept fraction of the text (0.25); 1 is one token, "
              "1.0 the whole text");
  }
}

TEST_CASE("[budget] a number has one spelling, without an exponent") {
  const std::pair<const char*, const char*> cases[] = {
      {"256", "256"},  {"0256", "256"},   {"0.25", "0.25"}, {".5", "0.5"},           {"0.50", "0.5"},
      {"1e-1", "0.1"}, {"25e-2", "0.25"}, {"1.", "1.0"},    {"1e-9", "0.000000001"}, {"1.000", "1.0"}};
  for (const auto& [written, text] : cases) {
    CAPTURE(written);
    CHECK(policy::parse_budget(written).text == text);
    CHECK(policy::parse_budget(text).text == text);
  }
}

TEST_CASE("[budget] a fraction of the tokens is rounded down, but to no less than 1") {
  const auto resolve = [](const char* text, int64_t tokens) {
    return policy::resolve(policy::parse_budget(text), tokens);
  };
  CHECK(resolve("256", 100) == 256);
  CHECK(resolve("0.25", 100) == 25);
  CHECK(resolve("0.25", 103) == 25);
  CHECK(resolve("1.0", 77) == 77);
  CHECK(resolve("0.001", 100) == 1);
  CHECK(resolve("0.5", 0) == 1);
  // In binary 0.29 x 100 is below 29, and 0.07 x 100 above 7.
  for (int64_t percent = 1; percent <= 100; ++percent) {
    const std::string text = percent < 10 ? "0.0" + std::to_string(percent) : "0." + std::to_string(percent);
    if (percent < 100) CHECK(resolve(text.c_str(), 100) == percent);
  }
}

TEST_CASE("[budget] pyramids: closed forms") {
  // b = 96 - 32 = 64, min = 64 / 20 = 3, max = 125, step = 122 / 3 = 40.
  CHECK(pyramid_budgets(4, 96, 32, 20, 10000) == std::vector<int64_t>{157, 117, 77, 37});
  // Divisible: b = 20, min = 1, max = 39, step = 2.
  std::vector<int64_t> even = pyramid_budgets(20, 30, 10, 20, 1000);
  CHECK(even.front() == 49);
  CHECK(even.back() == 11);
  CHECK(sum(even) == 20 * 30);
  // max would be 125 of 128 - 32 = 96 keys: max = 96, min = 128 - 96 = 32, step = 64 / 3 = 21.
  CHECK(pyramid_budgets(4, 96, 32, 20, 128) == std::vector<int64_t>{128, 107, 86, 65});
  CHECK(pyramid_budgets(4, 60, 20, 20, 82) == std::vector<int64_t>{82, 68, 54, 40});
  // No compression, too few tokens, one layer, nothing but the window: all the same.
  const std::vector<int64_t> flat(4, 96);
  CHECK(pyramid_budgets(4, 96, 32, 20, 96) == flat);
  CHECK(pyramid_budgets(4, 96, 32, 20, 127) == flat);
  CHECK(pyramid_budgets(4, 96, 96, 20, 10000) == flat);
  CHECK(pyramid_budgets(1, 96, 32, 20, 10000) == std::vector<int64_t>{96});
  // beta 1: min is the mean.
  CHECK(pyramid_budgets(4, 96, 32, 1, 10000) == flat);
  CHECK(pyramid_budgets(4, 96, 32, 20, 0) == pyramid_budgets(4, 96, 32, 20, 10000));
}

TEST_CASE("[budget] pyramids fall in equal steps and keep the mean budget") {
  for (const int64_t layers : {2, 3, 5, 12, 32}) {
    for (const int64_t budget : {9, 33, 64, 200, 512}) {
      for (const int64_t window : {1, 8, 32}) {
        for (const int64_t beta : {1, 2, 20}) {
          for (const int64_t tokens : {0, 250, 513, 4096}) {
            if (window > budget) continue;
            CAPTURE(layers);
            CAPTURE(budget);
            CAPTURE(window);
            CAPTURE(beta);
            CAPTURE(tokens);
            const std::vector<int64_t> all = pyramid_budgets(layers, budget, window, beta, tokens);
            REQUIRE(all.size() == static_cast<size_t>(layers));
            const int64_t step = all[0] - all[1];
            CHECK(step >= 0);
            for (size_t l = 1; l < all.size(); ++l) CHECK(all[l - 1] - all[l] == step);
            CHECK(all.back() >= window);
            CHECK(sum(all) >= layers * budget);
            CHECK(sum(all) - layers * budget < std::max<int64_t>(layers * (layers - 1) / 2, 1));
            if (tokens > budget) CHECK(all.front() <= tokens);
          }
        }
      }
    }
  }
}

TEST_CASE("[budget] the layers of a pyramid have the window and the sinks of the mean") {
  const policy::LayerPlace place{.layers = 6, .budget = 20, .tokens = 1000};
  for (int64_t layer = 0; layer < 6; ++layer) {
    policy::LayerPlace here = place;
    here.layer = layer;
    const std::vector<Split> splits =
        policy::layer_splits(find_policy("pyramidkv"), {.sinks = 3}, shape, here);
    // Window 10, sinks 3: b = 7, min = 0, max = 14, step = 2.
    CHECK(splits.size() == 2);
    for (const Split& one : splits) CHECK(same(one, {3, 10, 14 - layer * 2}));
  }
  CHECK(layer_budgets("adakv:pyramidkv", {}, {.layer = 5, .layers = 6, .budget = 20, .tokens = 1000}) ==
        layer_budgets("pyramidkv", {}, {.layer = 5, .layers = 6, .budget = 20, .tokens = 1000}));
  CHECK(layer_budgets("snapkv", {}, {.layer = 5, .layers = 6, .budget = 20, .tokens = 1000}) ==
        std::vector<int64_t>{20, 20});
}

TEST_CASE("[policy] sinks, recent and heavy keys by default") {
  CHECK(same(split("window", 10), {0, 10, 0}));
  CHECK(same(split("window", 1), {0, 1, 0}));
  CHECK(same(split("window", 10, {.sinks = 3, .recent = 2}), {0, 10, 0}));
  CHECK(same(split("window", 1, {.sinks = 1}), {0, 1, 0}));
  CHECK(same(split("streaming_llm", 10), {4, 6, 0}));
  CHECK(same(split("streaming_llm", 10, {.sinks = 0}), {0, 10, 0}));
  CHECK(same(split("streaming_llm", 10, {.sinks = 10}), {10, 0, 0}));
  CHECK(same(split("streaming_llm", 10, {.recent = 8}), {4, 6, 0}));
  CHECK(same(split("streaming_llm", 3), {2, 1, 0}));
  CHECK(same(split("streaming_llm", 1), {0, 1, 0}));
  CHECK(same(split("h2o", 10), {0, 5, 5}));
  CHECK(same(split("h2o", 11), {0, 5, 6}));
  CHECK(same(split("h2o", 1), {0, 0, 1}));
  CHECK(same(split("h2o", 10, {.sinks = 2, .recent = 3}), {2, 3, 5}));
  CHECK(same(split("h2o", 10, {.sinks = 8}), {8, 2, 0}));
  CHECK(same(split("lru", 10), {0, 1, 9}));
  CHECK(same(split("tova", 10), {0, 1, 9}));
  CHECK(same(split("tova", 1), {0, 1, 0}));
  CHECK(same(split("snapkv", 256), {0, 32, 224}));
  CHECK(same(split("snapkv", 10), {0, 5, 5}));
  CHECK(same(split("snapkv", 1), {0, 1, 0}));
  CHECK(same(split("snapkv", 256, {.observation = 64}), {0, 64, 192}));
  CHECK(same(split("adakv", 256), {0, 32, 224}));
  CHECK(same(split("adakv:h2o", 10), {0, 5, 5}));
  CHECK(same(split("adakv:streaming_llm", 10), {4, 6, 0}));
  CHECK(same(split("expected_attention", 10), {4, 0, 6}));
  // The policy's own sinks make room for the recent keys asked for.
  CHECK(same(split("expected_attention", 8, {.recent = 6}), {2, 6, 0}));
  CHECK(same(split("lagkv", 8, {.recent = 8}), {0, 8, 0}));
  CHECK(same(split("random", 10), {0, 0, 10}));
}

TEST_CASE("[policy] budgets of layers and heads from a table") {
  PolicyOptions options{.budgets = {5, 6, 7, 8, 9, 9}};
  CHECK(layer_budgets("h2o", options, {.layer = 1, .layers = 3, .budget = 99}) == std::vector<int64_t>{7, 8});
  // A table takes the place of the pyramid.
  CHECK(layer_budgets("pyramidkv", options, {.layer = 1, .layers = 3, .budget = 99, .tokens = 1000}) ==
        std::vector<int64_t>{7, 8});
  CHECK(layer_budgets("tova", options, {.layer = 2, .layers = 3, .budget = 99}) ==
        std::vector<int64_t>{9, 9});
  CHECK(message_of<UsageError>(
            [&] { return layer_budgets("tova", options, {.layer = 1, .layers = 3, .budget = 99}); }) ==
        "[budgets] tova keeps the same keys in all heads of a layer, but those of layer 1 have budgets of 7 "
        "and 8 keys; give them one");
  CHECK(message_of<UsageError>([&] { return layer_budgets("h2o", options, {.layers = 4}); }) ==
        "[budgets] got 6 numbers, expected one for each of 4 layers x 2 KV heads");
  options.budgets[1] = 0;
  CHECK(message_of<UsageError>([&] { return layer_budgets("h2o", options, {.layers = 3}); }) ==
        "[budget] got 0, expected at least 1 key");
  options = {.per_query_head = true, .budgets = {5, 6}};
  CHECK(layer_budgets("h2o", options, {.layers = 1}) == std::vector<int64_t>{5, 5, 6, 6});
}

TEST_CASE("[policy] full holds every key, whatever a table says") {
  PolicyOptions options;
  options.budgets = {3, 4, 5, 6};
  CHECK(layer_budgets("full", options, {.layer = 1, .layers = 2, .budget = 40}) ==
        std::vector<int64_t>{40, 40});
}

TEST_CASE("[policy] what a cache remembers beside its keys and values") {
  const kernels::ScanShape four{.query_heads = 4, .kv_heads = 2, .head_dim = 16};
  PolicyOptions options;
  options.observation = 6;
  options.refresh = 10;
  const auto bytes = [&](const char* name) {
    const auto sets = policy::layer_metadata(find_policy(name), options, four, {.budget = 20, .tokens = 100});
    REQUIRE(sets.size() == 2);
    CHECK((sets[0].key == sets[1].key && sets[0].set == sets[1].set));
    return std::pair(sets[0].key, sets[0].set);
  };
  using Bytes = std::pair<int64_t, int64_t>;
  for (const char* name : {"full", "window", "streaming_llm", "adakv:window"})
    CHECK(bytes(name) == Bytes{0, 0});
  for (const char* name : {"random", "tova", "h2o:global"}) CHECK(bytes(name) == Bytes{4, 0});
  for (const char* name : {"h2o", "h2o:mask", "h2o:fullrow", "lru", "knorm", "lagkv", "oracle", "adakv:h2o"})
    CHECK(bytes(name) == Bytes{4 + 8, 0});
  // The weights from six queries and their sum.
  for (const char* name : {"snapkv", "pyramidkv", "adakv", "adakv:snapkv"})
    CHECK(bytes(name) == Bytes{4 + 8 + 6 * 4, 0});
  CHECK(bytes("keydiff") == Bytes{4, 16 * 8});
  // Of two query heads: sums in f64, ten queries, the fit in f32.
  CHECK(bytes("expected_attention") == Bytes{4 + 8, 2 * (272 * 8 + 10 * 16 * 4 + 272 * 4)});
  options.per_query_head = true;
  const auto sets =
      policy::layer_metadata(find_policy("expected_attention"), options, four, {.budget = 20, .tokens = 100});
  REQUIRE(sets.size() == 4);
  CHECK(sets[3].set == 272 * 8 + 10 * 16 * 4 + 272 * 4);
}

TEST_CASE("[policy] memory is freed by all but those that only mask or look at keys that left") {
  for (const policy::PolicyInfo& info : policy::policies())
    CHECK(info.frees_memory == (info.name != "h2o:mask" && info.name != "h2o:fullrow"));
}

TEST_CASE("[policy] names") {
  CHECK(policy::policies().size() == 18);
  for (const policy::PolicyInfo& info : policy::policies()) {
    CHECK(find_policy(info.name).name == info.name);
    CHECK((info.scorer == nullptr) != (info.rule == nullptr));
    CHECK(!info.summary.empty());
  }
  CHECK((find_policy("adakv:h2o").base == find_policy("h2o").info.scorer));
  CHECK(find_policy("adakv:h2o").name == "adakv:h2o");
  CHECK(find_policy("adakv:h2o:mask").info.frees_memory == false);
  CHECK(find_policy("adakv:oracle").info.clairvoyant);
  CHECK(find_policy("adakv:random").info.by_attention == false);
  const std::string unknown = message_of<UsageError>([] { return find_policy("h20"); });
  CHECK(unknown ==
        "[policy] 'h20' is no policy; there are full, window, streaming_llm, h2o, h2o:mask, h2o:fullrow, "
        "h2o:global, lru, tova, snapkv, pyramidkv, adakv, knorm, keydiff, lagkv, expected_attention, random, "
        "oracle, and adakv:<policy>");
  CHECK(holds(message_of<UsageError>([] { return find_policy(""); }), "'' is no policy"));
  CHECK(holds(message_of<UsageError>([] { return find_policy("adakv:"); }), "'adakv:' is no policy"));
  CHECK(holds(message_of<UsageError>([] { return find_policy("adakv:x"); }), "'adakv:x' is no policy"));
  for (const char* base : {"tova", "full", "h2o:global", "h2o:fullrow", "adakv"}) {
    CHECK(message_of<UsageError>([&] { return find_policy(std::string("adakv:") + base); }) ==
          "[policy] adakv cannot share a budget by '" + std::string(base) + "', which gives keys no scores");
  }
}

TEST_CASE("[policy] bad options") {
  const auto message = [](const char* name, int64_t budget, const PolicyOptions& options) {
    return message_of<UsageError>([&] { return split(name, budget, options); });
  };
  CHECK(message("h2o", 0, {}) == "[budget] got 0, expected at least 1 key");
  CHECK(message("h2o", -4, {}) == "[budget] got -4, expected at least 1 key");
  CHECK(message("h2o", 8, {.sinks = 9}) == "[h2o] 9 sinks do not fit in a budget of 8 keys");
  CHECK(message("streaming_llm", 8, {.sinks = 9}) ==
        "[streaming_llm] 9 sinks do not fit in a budget of 8 keys");
  CHECK(message("h2o", 8, {.sinks = 4, .recent = 5}) ==
        "[h2o] 4 sinks and 5 recent keys do not fit in a budget of 8 keys");
  CHECK(message("expected_attention", 8, {.recent = 9}) ==
        "[expected_attention] 0 sinks and 9 recent keys do not fit in a budget of 8 keys");
  CHECK(message("h2o", 8, {.sinks = -1}) == "[sinks] got -1, expected 0 or more");
  CHECK(message("h2o", 8, {.recent = -1}) == "[recent] got -1, expected 0 or more");
  CHECK(message("h2o", 8, {.observation = 0}) == "[observation] got 0, expected 1 or more");
  CHECK(message("h2o", 8, {.beta = 0}) == "[beta] got 0, expected 1 or more");
  CHECK(message("h2o", 8, {.lag = 0}) == "[lag] got 0, expected 1 or more");
  CHECK(message("h2o", 8, {.future = 0}) == "[future] got 0, expected 1 or more");
  CHECK(message("h2o", 8, {.refresh = 0}) == "[refresh] got 0, expected 1 or more");
  CHECK(message("h2o", 8, {.kernel = 4}) == "[pool-kernel] got 4, expected an odd number of keys");
  CHECK(message("h2o", 8, {.kernel = -1}) == "[pool-kernel] got -1, expected an odd number of keys");
  CHECK(message("h2o", 8, {.floor = 1.5}) == "[floor] got 1.5, expected 0 to 1");
  CHECK(message("h2o", 8, {.floor = -.5}) == "[floor] got -0.5, expected 0 to 1");
  CHECK(message("h2o", 8, {.epsilon = -1}) == "[epsilon] got -1, expected 0 or more");
}

TEST_CASE("[policy] a clairvoyant policy without the future is our own mistake") {
  CHECK(message_of<std::logic_error>([] {
          return policy::decision_groups(find_policy("oracle"), {}, shape, {.layers = 1, .budget = 4});
        }) == "oracle needs the full-attention weight of every token");
}
