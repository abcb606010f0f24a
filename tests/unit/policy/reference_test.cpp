// SPDX-License-Identifier: MIT
#include "unit/policy/reference.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>

using namespace kvviz;
using reference::Decide;
using reference::each_set;
using reference::Protected;
using test::RunOptions;
using test::Text;
using test::TextSize;

namespace {

/// The policies' settings in one place of the grid, and what the reference is told.
struct Place {
  const Text& text;
  const RunOptions& options;
  /// Sinks and recent keys as the documentation says, unless the options say something else.
  Protected keep(int64_t sinks, int64_t recent) const {
    return {.budget = static_cast<size_t>(options.budget),
            .sinks = static_cast<size_t>(options.policy.sinks.value_or(sinks)),
            .recent = static_cast<size_t>(recent)};
  }
  int64_t window() const { return std::min<int64_t>(options.policy.observation, options.budget / 2); }
};
using MakeDecide = std::function<Decide(const Place&)>;

RunOptions grid_options(int64_t budget, int64_t prompt, std::optional<int64_t> sinks) {
  RunOptions options;
  options.budget = budget;
  options.prompt = prompt;
  options.policy.sinks = sinks;
  return options;
}

struct Count {
  int64_t decisions = 0, near_ties = 0;
};

void compare(const char* policy, const Text& text, RunOptions options, const MakeDecide& make, Count& count) {
  CAPTURE(std::string(policy));
  CAPTURE(text.shape.kv_heads);
  CAPTURE(text.shape.window);
  CAPTURE(options.budget);
  CAPTURE(options.prompt);
  CAPTURE(options.policy.sinks.value_or(-1));
  CAPTURE(options.policy.per_query_head);
  options.totals = reference::total_weights(text, options.policy);
  const reference::Replay replay =
      reference::replay(text, test::run(text, policy, options), make({text, options}), options);
  CHECK(replay.difference == "");
  count.decisions += replay.decisions;
  count.near_ties += replay.near_ties;
}

/// GQA groups of 1, 2 and 4, a set per query head, budgets, sinks, stepwise and after a prompt, a sliding
/// window of the model's own, seeds.
void compare_everywhere(const char* policy, const MakeDecide& make,
                        const std::function<void(policy::PolicyOptions&)>& change = {}) {
  Count count;
  for (const uint64_t seed : {1, 2}) {
    for (const int64_t kv_heads : {4, 2, 1}) {
      Text text = test::random_text({.kv_heads = kv_heads, .tokens = 80}, seed);
      for (const int64_t budget : {7, 22}) {
        for (const int64_t prompt : {0, 1, 9, 45, 80}) {
          RunOptions options = grid_options(budget, prompt, {});
          if (change) change(options.policy);
          compare(policy, text, options, make, count);
        }
        RunOptions options = grid_options(budget, 0, 2);
        options.policy.per_query_head = true;
        if (change) change(options.policy);
        compare(policy, text, options, make, count);
        options = grid_options(budget, 30, 3);
        options.policy.aggregate = kernels::Aggregate::max;
        if (change) change(options.policy);
        compare(policy, text, options, make, count);
      }
      text.shape.window = 18;
      RunOptions options = grid_options(11, 40, 1);
      if (change) change(options.policy);
      compare(policy, text, options, make, count);
      options.prompt = 0;
      compare(policy, text, options, make, count);
    }
  }
  CAPTURE(std::string(policy));
  CHECK(count.decisions > 5000);
  CHECK(count.near_ties * 200 <= count.decisions);
}

}  // namespace

TEST_CASE("[policy] window and streaming_llm against the reference") {
  const auto newest = [](const Place& place, int64_t sinks) {
    const Protected keep = place.keep(sinks, 0);
    return each_set(reference::age(), {keep.budget, keep.sinks, keep.budget - keep.sinks});
  };
  compare_everywhere("window", [&](const Place& place) {
    return each_set(reference::age(), {static_cast<size_t>(place.options.budget), 0,
                                       static_cast<size_t>(place.options.budget)});
  });
  compare_everywhere("streaming_llm", [&](const Place& place) { return newest(place, 4); });
}

TEST_CASE("[policy] h2o against the reference") {
  const MakeDecide half = [](const Place& place) {
    return each_set(reference::accumulated(), place.keep(0, place.options.budget / 2));
  };
  compare_everywhere("h2o", half);
  compare_everywhere("h2o:mask", half);
  compare_everywhere(
      "h2o", [](const Place& place) { return each_set(reference::accumulated(), place.keep(0, 3)); },
      [](policy::PolicyOptions& options) { options.recent = 3; });
  compare_everywhere(
      "h2o", [](const Place& place) { return each_set(reference::accumulated(), place.keep(0, 0)); },
      [](policy::PolicyOptions& options) { options.recent = 0; });
}

TEST_CASE("[policy] h2o:fullrow and h2o:global against the reference") {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const int64_t kv_heads : {4, 2, 1}) {
      for (const int64_t budget : {7, 22}) {
        for (const int64_t prompt : {0, 9, 45}) {
          for (const int64_t window : {0, 18}) {
            Text text = test::random_text({.kv_heads = kv_heads, .tokens = 80}, seed);
            text.shape.window = window;
            if (seed == 3) text.shape.alibi_slopes = {0.3F, 0.1F, 0.04F, 0.01F};
            RunOptions options = grid_options(budget, prompt, seed == 3 ? 2 : 0);
            options.policy.per_query_head = seed == 2;
            options.totals = reference::total_weights(text, options.policy);
            const Protected keep{static_cast<size_t>(budget), static_cast<size_t>(*options.policy.sinks),
                                 static_cast<size_t>(budget / 2)};
            const auto check = [&](const char* name, const std::vector<std::vector<reference::Left>>& want) {
              CAPTURE(name);
              CAPTURE(budget);
              CAPTURE(prompt);
              CAPTURE(window);
              const test::Run run = test::run(text, name, options);
              REQUIRE(run.log.size() == want.size());
              for (size_t s = 0; s < want.size(); ++s) {
                std::vector<std::pair<size_t, size_t>> got, wanted;
                for (const auto& [step, position] : run.log[s])
                  got.emplace_back(static_cast<size_t>(step), static_cast<size_t>(position));
                for (const auto& [step, position] : want[s]) wanted.emplace_back(step, position);
                std::sort(got.begin(), got.end());
                CHECK(got == wanted);
                CHECK(!got.empty());
              }
            };
            check("h2o:fullrow", reference::heavy_by_full_rows(text, keep, options));
            check("h2o:global", reference::heavy_by_all_rows(text, keep, options));
          }
        }
      }
    }
  }
}

TEST_CASE("[policy] lru and tova against the reference") {
  compare_everywhere("lru",
                     [](const Place& place) { return each_set(reference::last_use(), place.keep(0, 1)); });
  compare_everywhere("tova", [](const Place& place) {
    return reference::all_alike(place.keep(0, 1), place.options.policy.aggregate == kernels::Aggregate::max);
  });
}

TEST_CASE("[policy] snapkv against the reference") {
  const MakeDecide make = [](const Place& place) {
    return each_set(reference::observed(static_cast<size_t>(place.window()),
                                        static_cast<size_t>(place.options.policy.kernel),
                                        place.options.policy.pool == policy::Pool::maximum),
                    place.keep(0, place.window()));
  };
  compare_everywhere("snapkv", make);
  compare_everywhere("snapkv", make, [](policy::PolicyOptions& options) {
    options.pool = policy::Pool::maximum;
    options.observation = 2;
    options.kernel = 3;
  });
  compare_everywhere("snapkv", make, [](policy::PolicyOptions& options) { options.kernel = 1; });
}

TEST_CASE("[policy] pyramidkv against the reference") {
  Count count;
  for (const int64_t prompt : {0, 45}) {
    const Text text = test::random_text({}, 5);
    for (int64_t layer = 0; layer < 5; ++layer) {
      RunOptions options = grid_options(18, prompt, {});
      options.layer = layer;
      options.layers = 5;
      options.policy.beta = 4;
      // Window 9: b = 9, min = 9 / 4 = 2, max = 16, step = 14 / 4 = 3.
      const auto budget = static_cast<size_t>(16 + 9 - 3 * layer);
      const Decide decide = each_set(reference::observed(9, 5, false), {budget, 0, 9});
      const reference::Replay replay =
          reference::replay(text, test::run(text, "pyramidkv", options), decide, options);
      CHECK(replay.difference == "");
      count.decisions += replay.decisions;
      count.near_ties += replay.near_ties;
    }
  }
  CHECK(count.decisions > 1000);
  CHECK(count.near_ties * 200 <= count.decisions);
}

TEST_CASE("[policy] adakv against the reference") {
  for (const double floor : {0.0, 0.2, 0.5, 1.0}) {
    const auto change = [=](policy::PolicyOptions& options) { options.floor = floor; };
    compare_everywhere(
        "adakv",
        [=](const Place& place) {
          return reference::shared(reference::observed(static_cast<size_t>(place.window()), 5, false),
                                   place.keep(0, place.window()), floor);
        },
        change);
    compare_everywhere(
        "adakv:h2o",
        [=](const Place& place) {
          return reference::shared(reference::accumulated(), place.keep(0, place.options.budget / 2), floor);
        },
        change);
  }
  compare_everywhere("adakv:lagkv", [](const Place& place) {
    const int64_t sinks = place.options.policy.sinks.value_or(4);
    const auto lag = static_cast<size_t>(std::max<int64_t>((place.options.budget - sinks) / 2, 1));
    return reference::shared(reference::lag_rank(static_cast<size_t>(sinks), lag), place.keep(4, 0), 0.2);
  });
  // With a lower floor a head may be left with two keys, which are equally like their mean.
  compare_everywhere(
      "adakv:keydiff",
      [](const Place& place) { return reference::shared(reference::unlike_mean(), place.keep(0, 0), 0.5); },
      [](policy::PolicyOptions& options) { options.floor = 0.5; });
}

TEST_CASE("[policy] knorm and keydiff against the reference") {
  compare_everywhere("knorm",
                     [](const Place& place) { return each_set(reference::small_norm(), place.keep(0, 0)); });
  compare_everywhere("keydiff",
                     [](const Place& place) { return each_set(reference::unlike_mean(), place.keep(0, 0)); });
}

TEST_CASE("[policy] keydiff and expected_attention against the reference after a long prompt") {
  Count count;
  const Text text = test::rotated_text({.kv_heads = 2, .head_dim = 8, .tokens = 200}, 6);
  for (const int64_t prompt : {150, 180}) {
    const RunOptions options = grid_options(20, prompt, {});
    compare(
        "keydiff", text, options,
        [](const Place& place) { return each_set(reference::unlike_mean(), place.keep(0, 0)); }, count);
    compare(
        "expected_attention", text, options,
        [](const Place& place) {
          return each_set(
              reference::expected(place.text, {.scale = static_cast<double>(place.text.shape.scale)}),
              place.keep(4, 0));
        },
        count);
  }
  CHECK(count.decisions == 2 * 2 * 2 * 180);
  CHECK(count.near_ties * 100 <= count.decisions);
}

TEST_CASE("[policy] lagkv against the reference") {
  compare_everywhere("lagkv", [](const Place& place) {
    const int64_t sinks = place.options.policy.sinks.value_or(4);
    const auto lag = static_cast<size_t>(std::max<int64_t>((place.options.budget - sinks) / 2, 1));
    return each_set(reference::lag_rank(static_cast<size_t>(sinks), lag), place.keep(4, 0));
  });
  compare_everywhere(
      "lagkv",
      [](const Place& place) {
        const auto sinks = static_cast<size_t>(place.options.policy.sinks.value_or(4));
        const size_t lag = place.options.budget < 12 && sinks > 1
                               ? (static_cast<size_t>(place.options.budget) - sinks) / 2
                               : 3;
        return each_set(reference::lag_rank(sinks, std::min<size_t>(lag, 3)), place.keep(4, 0));
      },
      [](policy::PolicyOptions& options) { options.lag = 3; });
}

TEST_CASE("[policy] expected_attention against the reference") {
  Count count;
  enum class Places { rotary, alibi, none };
  for (const Places places : {Places::rotary, Places::alibi, Places::none}) {
    for (const int64_t kv_heads : {4, 1}) {
      const TextSize size{.kv_heads = kv_heads, .head_dim = 8, .tokens = 70};
      Text text = places == Places::rotary ? test::rotated_text(size, 3) : test::random_text(size, 3);
      if (places == Places::alibi) text.shape.alibi_slopes = {0.3F, 0.1F, 0.04F, 0.01F};
      for (const int64_t budget : {7, 22}) {
        for (const int64_t prompt : {0, 45}) {
          RunOptions options = grid_options(budget, prompt, {});
          options.policy.refresh = 9;
          options.policy.future = 30;
          options.policy.epsilon = prompt > 0 ? 0.02 : 0;
          options.policy.per_query_head = kv_heads == 1 && prompt > 0;
          compare(
              "expected_attention", text, options,
              [](const Place& place) {
                return each_set(
                    reference::expected(place.text, {.sinks = 4,
                                                     .future = 30,
                                                     .refresh = 9,
                                                     .epsilon = place.options.policy.epsilon,
                                                     .scale = static_cast<double>(place.text.shape.scale)}),
                    place.keep(4, 0));
              },
              count);
        }
      }
    }
  }
  CHECK(count.decisions > 2000);
  CHECK(count.near_ties * 100 <= count.decisions);
}

TEST_CASE("[policy] oracle against the reference") {
  compare_everywhere(
      "oracle", [](const Place& place) { return each_set(reference::future_weight(), place.keep(0, 0)); });
}
