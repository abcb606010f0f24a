// SPDX-License-Identifier: MIT
#include "kvviz/stats/received_attention.hpp"

#include <doctest/doctest.h>

using namespace kvviz::stats;

namespace {

using Positions = std::vector<int64_t>;

ReceivedAttention received(const std::vector<std::vector<float>>& rows) {
  ReceivedAttention all;
  for (const auto& row : rows) all.add(row);
  return all;
}

}  // namespace

// The figures of the web page that this replaces, where they were right.
TEST_CASE("[received] golden sinks and heavy hitters") {
  CHECK(received_sinks(received({{1}, {.6F, .4F}, {.5F, .2F, .3F}}), .3) == Positions{0, 1, 2});
  const auto one = received({{1}, {.4F, .6F}, {.3F, .3F, .4F}, {.2F, .4F, .2F, .2F}});
  CHECK(received_heavy(one, .21, Positions{0}, 1) == Positions{1});
  const auto two = received({{1}, {.3F, .7F}, {.2F, .5F, .3F}, {.1F, .6F, .2F, .1F}});
  CHECK(received_heavy(two, .4, Positions{}, 1) == Positions{1});
}

TEST_CASE("[received] means over the queries that see a key") {
  const auto r = received({{1}, {.75F, .25F}, {.5F, .25F, .25F}});
  CHECK(r.mass == std::vector<double>{2.25, .5, .25});
  CHECK(r.own == std::vector<double>{1, .25, .25});
  CHECK(received_sinks(r, .75).empty());  // at the threshold is not above it
  CHECK(received_sinks(r, .7499) == Positions{0});
  CHECK(received_sinks(r, .2499) == Positions{0, 1, 2});
  CHECK(received_heavy(r, .6249, Positions{}, 1) == Positions{0});
  CHECK(received_heavy(r, .625, Positions{}, 1).empty());
  CHECK(received_heavy(r, .1, Positions{0}, 1) == Positions{1});
  CHECK(received_heavy(r, .1, Positions{}, 2) == Positions{0});
  CHECK(received_heavy(r, .1, Positions{}).empty());  // nobody has four queries behind it
  CHECK(received_sinks({}, 0).empty());
}

TEST_CASE("[received] only the first 16 positions can be sinks") {
  ReceivedAttention r;
  for (size_t n = 1; n <= 40; ++n) {
    std::vector<float> row(n, 0);
    row[n > 20 ? 20 : n - 1] = 1;  // from there on all of it goes to position 20
    r.add(row);
  }
  const Positions sinks = received_sinks(r, .03);
  CHECK(sinks == Positions{7, 8, 9, 10, 11, 12, 13, 14, 15});  // 1 / (40 - j) > 0.03
  CHECK(received_heavy(r, .5, sinks) == Positions{20});
}
