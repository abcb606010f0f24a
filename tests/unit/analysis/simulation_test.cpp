// SPDX-License-Identifier: MIT
#include "kvviz/analysis/simulation.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace kvviz::analysis;

namespace {

struct Point {
  double bytes = 0, loss = 0;
  bool clairvoyant = false;
};

std::vector<PolicyOutcome> outcomes(const std::vector<Point>& points) {
  std::vector<PolicyOutcome> all;
  for (const Point& point : points)
    all.push_back({.clairvoyant = point.clairvoyant, .delta_nll = point.loss, .resident_bytes = point.bytes});
  return all;
}

std::vector<size_t> frontier(const std::vector<Point>& points) {
  auto all = outcomes(points);
  for (PolicyOutcome& one : all) one.on_frontier = true;  // an earlier mark does not stay
  mark_frontier(all);
  std::vector<size_t> marked;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i].on_frontier) marked.push_back(i);
  return marked;
}

using Marked = std::vector<size_t>;

}  // namespace

TEST_CASE("[simulation] frontier: nothing has less loss with as few bytes or fewer") {
  CHECK(frontier({}) == Marked{});
  CHECK(frontier({{100, 0.5}}) == Marked{0});
  // Both fall: all; bytes rise with loss: the smallest alone.
  CHECK(frontier({{300, 0.1}, {100, 0.5}, {200, 0.2}}) == Marked{0, 1, 2});
  CHECK(frontier({{100, 0.1}, {200, 0.2}, {300, 0.3}}) == Marked{0});
  // One that is worse than its smaller neighbour is left out, one that is better than full is not.
  CHECK(frontier({{100, 0.5}, {200, 0.6}, {300, 0.4}, {400, 0}, {350, -0.1}}) == Marked{0, 2, 4});
}

TEST_CASE("[simulation] frontier: equal bytes, equal losses") {
  CHECK(frontier({{100, 0.5}, {100, 0.4}}) == Marked{1});
  CHECK(frontier({{100, 0.4}, {200, 0.4}}) == Marked{0});
  CHECK(frontier({{200, 0.4}, {100, 0.4}}) == Marked{1});
  CHECK(frontier({{100, 0.4}, {100, 0.4}}) == Marked{0});
}

TEST_CASE("[simulation] frontier: neither those that read the future nor those without a loss") {
  CHECK(frontier({{100, 0.1, true}, {200, 0.5}}) == Marked{1});
  CHECK(frontier({{100, kNone}, {200, 0.5}}) == Marked{1});
  CHECK(frontier({{100, 0.1, true}, {50, kNone}}) == Marked{});
}

TEST_CASE("[simulation] frontier: equals the definition, pair by pair") {
  // Losses and bytes from a small grid, so that ties are frequent.
  uint32_t state = 1;
  const auto draw = [&](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % below;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<Point> points(1 + draw(12));
    for (Point& point : points)
      point = {static_cast<double>(100 * draw(6)), static_cast<double>(draw(6)), draw(4) == 0};
    Marked want;
    for (size_t i = 0; i < points.size(); ++i) {
      if (points[i].clairvoyant) continue;
      bool beaten = false;
      for (size_t j = 0; j < points.size(); ++j) {
        if (j == i || points[j].clairvoyant) continue;
        const bool same = points[j].bytes == points[i].bytes && points[j].loss == points[i].loss;
        beaten |= same ? j < i : points[j].bytes <= points[i].bytes && points[j].loss <= points[i].loss;
      }
      if (!beaten) want.push_back(i);
    }
    CHECK(frontier(points) == want);
  }
}
