// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_slots.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <map>
#include <random>

#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::kernels {
namespace {

TEST_CASE("[evicting_scan_slots] arrays keep what they hold when they grow, and fill the rest") {
  AlignedArray<double> array(7.0);
  CHECK(array.size() == 0);
  array.reserve(3);
  CHECK(array.size() == 64);
  CHECK(reinterpret_cast<uintptr_t>(array.data()) % 64 == 0);
  CHECK(array.data()[63] == 7.0);
  array.data()[2] = 1.0;
  array.reserve(64);
  CHECK(array.size() == 64);
  array.reserve(65);
  CHECK(array.size() == 128);
  CHECK(array.data()[2] == 1.0);
  CHECK(array.data()[127] == 7.0);
}

float key_value(int64_t key, int64_t channel) {
  return static_cast<float>(100 * key + channel);
}

TEST_CASE("[evicting_scan_slots] keys in panels and in rows are where a product looks for them") {
  constexpr int64_t dim = 5;
  for (const int64_t panel : {1, 4, 16}) {
    for (const int64_t chunk : {1, 3, 16, 37}) {
      KeyColumns columns(dim, panel);
      std::vector<int64_t> held;
      for (int64_t first = 0; first < 37; first += chunk) {
        const int64_t count = std::min<int64_t>(chunk, 37 - first);
        std::vector<float> rows(static_cast<size_t>(count * 7), std::numeric_limits<float>::quiet_NaN());
        for (int64_t j = 0; j < count; ++j) {
          for (int64_t c = 0; c < dim; ++c) rows[static_cast<size_t>(j * 7 + c)] = key_value(first + j, c);
          held.push_back(first + j);
        }
        columns.reserve(first + count);
        columns.write(first, rows.data(), 7, count);
      }
      columns.move(36, 2);
      held[2] = 36;
      columns.move(3, 20);
      held[20] = 3;
      int64_t wrong = 0;
      for (int64_t column = 0; column < 37; ++column) {
        for (int64_t c = 0; c < dim; ++c) {
          const float got = columns.data()[(column / panel * dim + c) * panel + column % panel];
          wrong += got != key_value(held[static_cast<size_t>(column)], c);
        }
      }
      CHECK(wrong == 0);
    }
  }
}

/// Runs a body after every step over a lone set whose attention does not matter.
template <class Body>
class BodyRule : public EvictionRule {
 public:
  explicit BodyRule(Body body) : body_(std::move(body)) {}
  Needs needs() const override { return {.weights = true, .order = true}; }
  void after_step(const ScanStep& step, std::span<SlotSet> sets) override { body_(step.position, sets[0]); }

 private:
  Body body_;
};

template <class Body>
EvictingScan run(int64_t tokens, int64_t block, const Body& body) {
  std::vector<float> q(static_cast<size_t>(tokens), 1.0F), out(q.size());
  std::vector<DecisionGroup> groups;
  groups.push_back({{SlotOwner{}}, std::make_unique<BodyRule<Body>>(body)});
  EvictingScan scan({.query_heads = 1, .kv_heads = 1, .head_dim = 1}, std::move(groups), {.block = block});
  const HeadsView view{q.data(), tokens, 1};
  scan.advance({.tokens = tokens, .q = view, .k = view, .v = view, .out = {out.data(), tokens, 1}});
  return scan;
}

TEST_CASE("[evicting_scan_slots] scores move with their keys, and new keys begin at 0") {
  for (const int64_t block : {1, 5, 48}) {
    std::mt19937 random(5);
    std::map<int64_t, double> model;
    run(300, block, [&](int64_t step, SlotSet& set) {
      REQUIRE(set.kept() == std::ssize(model) + 1);
      CHECK(set.scores()[static_cast<size_t>(set.column_of(step))] == 0);
      set.scores()[static_cast<size_t>(set.column_of(step))] = static_cast<double>(1000 + step);
      model[step] = static_cast<double>(1000 + step);
      // Several leave at some steps, none at others, and sometimes all.
      for (uint32_t n = step % 71 == 70 ? 1000 : random() % 4; n > 0 && !model.empty(); --n) {
        const auto victim = std::next(model.begin(), static_cast<int64_t>(random() % model.size()));
        set.drop(set.column_of(victim->first));
        model.erase(victim);
      }
      int64_t wrong = 0;
      for (int64_t p = 0; p <= step; ++p) wrong += set.holds(p) != (model.count(p) > 0);
      for (const auto& [position, score] : model)
        wrong += set.scores()[static_cast<size_t>(set.column_of(position))] != score;
      CHECK(wrong == 0);
      std::vector<int32_t> ascending;
      for (const auto& [position, score] : model) ascending.push_back(static_cast<int32_t>(position));
      CHECK(std::vector<int32_t>(set.ordered().begin(), set.ordered().end()) == ascending);
      CHECK(set.kept_positions() == ascending);
    });
  }
}

TEST_CASE("[evicting_scan_slots] equal keys weigh the same, and weights of a dropped key are 0") {
  run(100, 16, [](int64_t step, SlotSet& set) {
    for (int64_t column = 0; column < set.columns(); ++column) {
      const double want = set.position(column) < 0 ? 0 : 1 / static_cast<double>(set.kept());
      CHECK(static_cast<double>(set.weights()[static_cast<size_t>(column)]) == doctest::Approx(want));
    }
    if (step % 2 == 0) return;
    const int64_t column = set.column_of(step - 1);
    set.drop(column);
    CHECK(set.weights()[static_cast<size_t>(column)] == 0);
  });
}

TEST_CASE("[evicting_scan_slots] of equal scores the lowest position leaves, wherever its column is") {
  const EvictingScan scan = run(200, 7, [](int64_t, SlotSet& set) {
    if (set.kept() > 20) set.drop(set.lowest(3, 1000));
  });
  std::vector<int32_t> want{0, 1, 2};
  for (int32_t position = 183; position < 200; ++position) want.push_back(position);
  CHECK(scan.sets()[0]->kept_positions() == want);
  CHECK(scan.sets()[0]->peak() == 21);
  const auto log = scan.sets()[0]->log();
  REQUIRE(log.size() == 180);
  for (size_t i = 0; i < log.size(); ++i) {
    CHECK(log[i].step == static_cast<int32_t>(i + 20));
    CHECK(log[i].position == static_cast<int32_t>(i + 3));
  }
}

TEST_CASE(
    "[evicting_scan_slots] outside a step no full weights are left, and nothing is held to begin with") {
  const EvictingScan scan = run(0, 0, [](int64_t, SlotSet&) {});
  CHECK(scan.tokens() == 0);
  CHECK(scan.sets()[0]->kept() == 0);
  CHECK(scan.sets()[0]->kept_positions().empty());
  CHECK(scan.sets()[0]->full_weights().empty());
}

}  // namespace
}  // namespace kvviz::kernels
