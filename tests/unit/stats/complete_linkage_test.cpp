// SPDX-License-Identifier: MIT
#include "kvviz/stats/complete_linkage.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <set>

#include "kvviz/core/error.hpp"

using kvviz::stats::complete_linkage;
using kvviz::stats::groups_at;
using kvviz::stats::Merge;
using kvviz::stats::merge_tree;
using Groups = std::vector<std::vector<int64_t>>;

TEST_CASE("[complete_linkage] a chain is cut where single linkage would follow it") {
  // 0-1 and 1-2 are alike, 0-2 is not.
  const std::vector<double> chain{1, .9, .2, .9, 1, .8, .2, .8, 1};
  CHECK(complete_linkage(chain, 3, 0.5) == Groups{{0, 1}, {2}});
  CHECK(complete_linkage(chain, 3, 0.2) == Groups{{0, 1, 2}});
  CHECK(complete_linkage(chain, 3, 0.9) == Groups{{0, 1}, {2}});  // at least
  CHECK(complete_linkage(chain, 3, 0.91) == Groups{{0}, {1}, {2}});
}

TEST_CASE("[complete_linkage] the most similar pair is joined first; NaN is no similarity") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(complete_linkage(std::vector<double>{1, .6, .1, .6, 1, .7, .1, .7, 1}, 3, 0.5) ==
        Groups{{0}, {1, 2}});
  CHECK(complete_linkage(std::vector<double>{1, nan, nan, 1}, 2, 0) == Groups{{0}, {1}});
  CHECK(complete_linkage(std::vector<double>{1, .9, .8, .9, 1, nan, .8, nan, 1}, 3, 0.5) ==
        Groups{{0, 1}, {2}});
  CHECK(complete_linkage({}, 0, 0.5).empty());
  CHECK_THROWS_AS(complete_linkage(std::vector<double>{1, 2}, 2, 0), kvviz::DataError);
}

TEST_CASE("[complete_linkage] groups are disjoint, complete, alike within, and none can be joined") {
  constexpr int64_t items = 40;
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform;
  std::vector<double> alike(items * items);
  for (int64_t i = 0; i < items; ++i) {
    for (int64_t j = 0; j <= i; ++j) alike[i * items + j] = alike[j * items + i] = uniform(random);
  }
  const auto least = [&](const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
    double value = 2;
    for (const int64_t i : a) {
      for (const int64_t j : b) value = i == j ? value : std::min(value, alike[i * items + j]);
    }
    return value;
  };
  const Groups groups = complete_linkage(alike, items, 0.6);
  std::set<int64_t> seen;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const int64_t item : groups[g]) CHECK(seen.insert(item).second);
    CHECK(least(groups[g], groups[g]) >= 0.6);
    for (size_t other = g + 1; other < groups.size(); ++other) CHECK(least(groups[g], groups[other]) < 0.6);
  }
  CHECK(seen.size() == items);
  CHECK(groups.size() < items);
}

namespace {

/// By the definition: the similarity of two groups is the least of their pairs.
std::vector<Merge> naive_tree(const std::vector<double>& alike, int64_t items) {
  Groups groups;
  for (int64_t i = 0; i < items; ++i) groups.push_back({i});
  std::vector<Merge> merges;
  while (groups.size() > 1) {
    size_t left = 0, right = 1;
    double most = -3;
    for (size_t a = 0; a < groups.size(); ++a)
      for (size_t b = a + 1; b < groups.size(); ++b) {
        double least = 3;
        for (const int64_t i : groups[a])
          for (const int64_t j : groups[b]) least = std::min(least, alike[i * items + j]);
        if (least > most) most = least, left = a, right = b;
      }
    merges.push_back({groups[left].front(), groups[right].front(), most});
    groups[left].insert(groups[left].end(), groups[right].begin(), groups[right].end());
    groups.erase(groups.begin() + static_cast<int64_t>(right));
  }
  return merges;
}

}  // namespace

TEST_CASE("[complete_linkage] the tree is that of the definition, and any cut of it gives the groups") {
  std::mt19937 random(7);
  for (const int64_t items : {1, 2, 5, 30}) {
    // Few values, so that there are ties.
    std::uniform_int_distribution<int> values(-4, 9);
    std::vector<double> alike(items * items, 1.0);
    for (int64_t i = 0; i < items; ++i)
      for (int64_t j = 0; j < i; ++j) alike[i * items + j] = alike[j * items + i] = 0.1 * values(random);
    const auto tree = merge_tree(alike, items), naive = naive_tree(alike, items);
    REQUIRE(tree.size() == naive.size());
    for (size_t m = 0; m < tree.size(); ++m) {
      CHECK(tree[m].left == naive[m].left);
      CHECK(tree[m].right == naive[m].right);
      CHECK(tree[m].similarity == naive[m].similarity);
      CHECK((m == 0 || tree[m].similarity <= tree[m - 1].similarity));
    }
    for (const double threshold : {-1.0, 0.0, 0.35, 0.8})
      CHECK(groups_at(tree, items, threshold) == complete_linkage(alike, items, threshold));
    CHECK(merge_tree(alike, items, 0.35).size() <= tree.size());
  }
}

TEST_CASE("[complete_linkage] what cannot be compared is in no merge") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto tree = merge_tree(std::vector<double>{1, nan, .5, nan, nan, nan, .5, nan, 1}, 3);
  REQUIRE(tree.size() == 1);
  CHECK(tree[0].left == 0);
  CHECK(tree[0].right == 2);
}
