// SPDX-License-Identifier: MIT
#include "kvviz/analysis/frontier.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kvviz/analysis/compression.hpp"

using kvviz::analysis::pareto_set;

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();
using Flags = std::vector<bool>;

}  // namespace

TEST_CASE("[frontier] points that nothing beats") {
  struct Case {
    std::vector<double> costs, losses;
    Flags chosen;
  };
  const Case cases[] = {
      {{}, {}, {}},
      {{5}, {1}, {true}},
      // Cheaper and better beats; dearer and better stays.
      {{1, 2, 3}, {1, 2, 0.5}, {true, false, true}},
      // Of equal costs the better one, of equal losses the cheaper one, of equal points the first.
      {{1, 1}, {2, 1}, {false, true}},
      {{2, 1}, {1, 1}, {false, true}},
      {{1, 1}, {1, 1}, {true, false}},
      // Gains are losses below 0; what is not finite is no point.
      {{1, 2}, {0, -1}, {true, true}},
      {{none, 1, 0.5}, {0, 1, none}, {false, true, false}},
  };
  for (const Case& one : cases) CHECK(pareto_set(one.costs, one.losses) == one.chosen);
}

TEST_CASE("[frontier] by its definition on random points") {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> draw(0, 9);  // many ties
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> costs, losses;
    for (int i = 0; i < 12; ++i) costs.push_back(draw(random)), losses.push_back(draw(random));
    const Flags chosen = pareto_set(costs, losses);
    for (size_t i = 0; i < costs.size(); ++i) {
      bool beaten = false;
      for (size_t j = 0; j < costs.size(); ++j) {
        const bool no_worse = costs[j] <= costs[i] && losses[j] <= losses[i];
        const bool better = costs[j] < costs[i] || losses[j] < losses[i] || j < i;
        beaten = beaten || (j != i && no_worse && better);
      }
      CHECK(chosen[i] == !beaten);
    }
  }
}

TEST_CASE("[frontier] of codecs: bytes with metadata against the loss") {
  using kvviz::analysis::CacheOutcome;
  std::vector<CacheOutcome> all{
      {.method = "f16", .ppl = 20, .delta_ppl = 0, .payload_bytes = 16, .tokens = 1},
      {.method = "a", .ppl = 22, .delta_ppl = 2, .payload_bytes = 4, .metadata_bytes = 13, .tokens = 1},
      {.method = "b", .ppl = 22, .delta_ppl = 2, .payload_bytes = 8, .metadata_bytes = 1, .tokens = 1},
      // A gain changes as much as a loss, and what is not known is not small.
      {.method = "gain", .ppl = 18, .delta_ppl = -2, .payload_bytes = 12, .tokens = 1},
      {.method = "unsure",
       .delta_nll_se = 0.15,
       .ppl = 20,
       .delta_ppl = 0,
       .payload_bytes = 12,
       .tokens = 1}};
  mark_frontier(all);
  CHECK(all[0].on_frontier);
  CHECK_FALSE(all[1].on_frontier);
  CHECK(all[2].on_frontier);
  CHECK(all[2].bytes() == 9);
  CHECK_FALSE(all[3].on_frontier);
  CHECK(all[3].change_percent() == doctest::Approx(10));
  CHECK_FALSE(all[4].on_frontier);
  CHECK(all[4].change_percent() == doctest::Approx(15));
}
