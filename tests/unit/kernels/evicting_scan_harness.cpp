// SPDX-License-Identifier: MIT
#include "unit/kernels/evicting_scan_harness.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvviz::test {

using namespace kernels;

namespace {

/// The choices by means of SlotSet.
class ChoosingRule : public EvictionRule {
 public:
  ChoosingRule(const ScanCase& c, Seen& seen, size_t first_owner)
      : c_(c), seen_(seen), first_owner_(first_owner) {}

  Needs needs() const override {
    return {.weights = true,
            .full_weights = c_.choice == Choice::least_full_weight,
            .order = c_.choice == Choice::random || c_.choice == Choice::newest};
  }

  void after_step(const ScanStep& step, std::span<SlotSet> sets) override {
    for (size_t i = 0; i < sets.size(); ++i) {
      look(sets[i], first_owner_ + i);
      score(step, sets[i]);
      if (step.may_evict && c_.choice != Choice::shared_least_weight) choose(step, sets[i]);
    }
    if (step.may_evict && c_.choice == Choice::shared_least_weight) share(step, sets);
  }

 private:
  void look(const SlotSet& set, size_t owner) {
    auto& weights = seen_.weights[owner].emplace_back();
    int64_t kept = 0, wrong = 0;
    for (int64_t column = 0; column < set.columns(); ++column) {
      const int64_t position = set.position(column);
      const float weight = set.weights()[static_cast<size_t>(column)];
      wrong += position < 0 ? weight != 0 : set.column_of(position) != column;
      if (position < 0) continue;
      weights[position] = static_cast<double>(weight);
      ++kept;
    }
    if (set.kept() != kept || wrong > 0) FAIL_CHECK("columns, positions and weights do not fit");
    if (!needs().full_weights) return;
    auto& full = seen_.full_weights[owner].emplace_back();
    for (size_t p = 0; p < set.full_weights().size(); ++p) {
      if (set.full_weights()[p] != 0)
        full[static_cast<int64_t>(p)] = static_cast<double>(set.full_weights()[p]);
    }
  }

  void score(const ScanStep& step, SlotSet& set) const {
    if (c_.choice == Choice::least_weight || c_.choice == Choice::shared_least_weight) set.add_weights();
    if (c_.choice != Choice::least_full_weight) return;
    for (int64_t p = 0; p <= step.position; ++p) {
      if (!set.holds(p)) continue;
      set.scores()[static_cast<size_t>(set.column_of(p))] +=
          static_cast<double>(set.full_weights()[static_cast<size_t>(p)]);
    }
  }

  void choose(const ScanStep& step, SlotSet& set) const {
    const int64_t end = step.position + 1;
    if (c_.choice == Choice::many_at_once && step.position % 10 == 9) {
      for (int64_t p = 0; p < end; ++p) {
        if (p % 3 != 0 && set.holds(p)) set.drop(set.column_of(p));
      }
    }
    if (c_.choice == Choice::nothing || c_.choice == Choice::many_at_once) return;
    while (set.kept() > c_.budget) {
      if (c_.choice == Choice::oldest) {
        for (int64_t p = 0; p < end; ++p) {
          if (!set.holds(p)) continue;
          set.drop(set.column_of(p));
          break;
        }
      } else if (c_.choice == Choice::newest) {
        set.drop(set.column_of(set.ordered().back()));
      } else if (c_.choice == Choice::random) {
        set.drop(set.column_of(set.ordered()[static_cast<size_t>(step.position * 7919 % set.kept())]));
      } else {
        set.drop(set.lowest(0, end));
      }
    }
  }

  void share(const ScanStep& step, std::span<SlotSet> sets) const {
    while (true) {
      int64_t kept = 0;
      SlotSet* from = nullptr;
      double least = std::numeric_limits<double>::infinity();
      for (SlotSet& set : sets) {
        kept += set.kept();
        const int64_t column = set.lowest(0, step.position + 1);
        if (column < 0 || set.scores()[static_cast<size_t>(column)] >= least) continue;
        from = &set;
        least = set.scores()[static_cast<size_t>(column)];
      }
      if (kept <= c_.budget * std::ssize(sets)) return;
      from->drop(from->lowest(0, step.position + 1));
    }
  }

  const ScanCase& c_;
  Seen& seen_;
  size_t first_owner_;
};

double weights_deviation(const SetWeights& got, const SetWeights& want) {
  double worst = got.size() == want.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t step = 0; step < std::min(got.size(), want.size()); ++step) {
    std::vector<double> got_values, want_values;
    for (const auto& [position, weight] : want[step]) {
      want_values.push_back(weight);
      if (got[step].count(position) > 0) got_values.push_back(got[step].at(position));
    }
    if (got[step].size() != want[step].size()) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, deviation(got_values, want_values));
  }
  return worst;
}

}  // namespace

std::vector<DecisionGroup> groups(const ScanCase& c, const ScanData& data, Seen& seen) {
  const std::vector<SlotOwner> owners = data.owners();
  seen = {std::vector<SetWeights>(owners.size()), std::vector<SetWeights>(owners.size())};
  std::vector<DecisionGroup> all;
  for (size_t i = 0; i < owners.size(); ++i) {
    if (i > 0 && c.one_group) {
      all.front().owners.push_back(owners[i]);
    } else {
      all.push_back({{owners[i]}, std::make_unique<ChoosingRule>(c, seen, i)});
    }
  }
  return all;
}

Run run(ScanData& data, const ScanCase& c, ScanOptions options, int64_t stride) {
  Run result;
  const RotaryTable table = data.table();
  options.aggregate = c.aggregate;
  options.prompt = c.prompt;
  if (c.by_rank()) options.cache_positions = &table;
  EvictingScan scan(data.shape(), groups(c, data, result.seen), options);
  for (int64_t first = 0; first < c.tokens; first += stride)
    scan.advance(data.input(first, std::min(stride, c.tokens - first)));
  CHECK(scan.tokens() == c.tokens);
  for (const SlotSet* set : scan.sets()) {
    result.kept.push_back(set->kept_positions());
    auto& log = result.logs.emplace_back();
    for (const Eviction& e : set->log()) log.emplace_back(e.step, e.position);
    result.peaks.push_back(set->peak());
  }
  result.comparisons.assign(scan.comparisons().begin(), scan.comparisons().end());
  return result;
}

std::vector<float> head_output(const ScanData& data, const ScanCase& c, int64_t head) {
  std::vector<float> out;
  for (int64_t t = 0; t < c.tokens; ++t) {
    const float* const row = data.out.data() + (head * c.tokens + t) * (c.head_dim + c.gap);
    out.insert(out.end(), row, row + c.head_dim);
  }
  return out;
}

void check(const Run& got, const ReferenceScan& want, const ScanData& data, const ScanCase& c) {
  // Else another order of additions may choose another key.
  REQUIRE(want.closest > 2e-5);
  REQUIRE(got.kept.size() == want.sets.size());
  for (size_t i = 0; i < want.sets.size(); ++i) {
    CAPTURE(i);
    const ReferenceSet& set = want.sets[i];
    CHECK(std::vector<int64_t>(got.kept[i].begin(), got.kept[i].end()) == set.kept);
    CHECK(got.logs[i] == set.log);
    CHECK(got.peaks[i] == set.peak);
    CHECK(weights_deviation(got.seen.weights[i], set.weights) <= scan_tolerance);
    if (c.choice == Choice::least_full_weight)
      CHECK(weights_deviation(got.seen.full_weights[i], set.full_weights) <= scan_tolerance);
  }
  for (int64_t h = 0; h < c.query_heads; ++h) {
    CAPTURE(h);
    const ReferenceScanHead& head = want.heads[static_cast<size_t>(h)];
    CHECK(deviation(head_output(data, c, h), head.out) <= scan_tolerance);
    if (got.comparisons.empty()) continue;
    const HeadComparison& comparison = got.comparisons[static_cast<size_t>(h)];
    CHECK(deviation(comparison.mass, head.mass) <= scan_tolerance);
    CHECK(deviation(comparison.bound, head.bound) <= scan_tolerance);
    REQUIRE(comparison.error.size() == head.error.size());
    int64_t above = 0, wrong = 0;
    for (size_t t = 0; t < head.error.size(); ++t) {
      const double allowed = 2 * scan_tolerance * (1 + head.error[t]) / std::min(head.full_norm[t], 1.0);
      wrong += !(std::abs(static_cast<double>(comparison.error[t]) - head.error[t]) <= allowed);
      above += !(comparison.mass[t] <= comparison.bound[t] && comparison.bound[t] <= 1);
    }
    CHECK(wrong == 0);
    CHECK(above == 0);
    CHECK(comparison.demands >= head.demands_low);
    CHECK(comparison.demands <= head.demands_high);
    CHECK(comparison.hits >= head.hits_low);
    CHECK(comparison.hits <= head.hits_high);
  }
  int64_t overwritten = 0;
  for (int64_t row = 0; row < c.query_heads * c.tokens; ++row) {
    for (int64_t g = 0; g < c.gap; ++g)
      overwritten += data.out[static_cast<size_t>(row * (c.head_dim + c.gap) + c.head_dim + g)] != -7.0F;
  }
  CHECK(overwritten == 0);
}

void check_against_reference(const ScanCase& c, const ScanOptions& options) {
  CAPTURE(static_cast<int>(c.choice));
  CAPTURE(c.query_heads);
  CAPTURE(c.kv_heads);
  CAPTURE(c.head_dim);
  CAPTURE(c.tokens);
  CAPTURE(c.budget);
  CAPTURE(c.window);
  CAPTURE(c.prompt);
  CAPTURE(c.rotary_pairs);
  CAPTURE(c.alibi);
  ScanData data(c);
  const Run got = run(data, c, options, c.tokens);
  CHECK(got.comparisons.size() == (options.compare ? static_cast<size_t>(c.query_heads) : 0));
  check(got, reference_scan(data, c), data, c);
}

}  // namespace kvviz::test
