// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan.hpp"

#include <doctest/doctest.h>
#include <hwy/highway.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "unit/kernels/evicting_scan_harness.hpp"

namespace kvviz::kernels {
namespace {

using namespace test;

TEST_CASE("[evicting_scan] every way to choose, with one head or many, equals the step loop in double") {
  for (const Choice choice : choices) {
    for (const bool one_group : {false, true}) {
      check_against_reference({.one_group = one_group, .choice = choice});
      check_against_reference({.query_heads = 6,
                               .kv_heads = 2,
                               .tokens = 130,
                               .one_group = one_group,
                               .budget = 31,
                               .choice = choice});
      check_against_reference({.query_heads = 6,
                               .kv_heads = 3,
                               .tokens = 75,
                               .per_query_head = true,
                               .one_group = one_group,
                               .choice = choice});
    }
  }
}

TEST_CASE("[evicting_scan] every budget, from a single key to more than there are tokens") {
  for (const int64_t budget : {0, 1, 2, 3, 15, 16, 17, 47, 48, 63, 64, 65, 99, 100, 101, 1000}) {
    for (const Choice choice : {Choice::oldest, Choice::newest, Choice::least_weight})
      check_against_reference(
          {.query_heads = 1, .kv_heads = 1, .tokens = 100, .budget = budget, .choice = choice});
  }
}

TEST_CASE("[evicting_scan] every length and head width, dense and strided") {
  for (const int64_t tokens : {1, 2, 3, 47, 48, 49, 97, 200})
    check_against_reference({.tokens = tokens, .budget = 20});
  for (const int64_t head_dim : {1, 3, 8, 16, 24, 64, 80, 96, 128}) {
    for (const int64_t gap : {0, 5}) {
      check_against_reference({.head_dim = head_dim,
                               .tokens = 70,
                               .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                               .gap = gap});
    }
  }
}

TEST_CASE("[evicting_scan] longer than one cut of the lane sums and one block of values") {
  check_against_reference(
      {.query_heads = 1, .kv_heads = 1, .head_dim = 4, .tokens = 1300, .budget = 1100, .seed = 4});
}

TEST_CASE("[evicting_scan] weights of grouped query heads as mean and maximum") {
  for (const Aggregate aggregate : {Aggregate::mean, Aggregate::max}) {
    for (const Choice choice : {Choice::least_weight, Choice::least_full_weight})
      check_against_reference(
          {.query_heads = 8, .kv_heads = 2, .aggregate = aggregate, .choice = choice, .seed = 3});
  }
  check_against_reference({.query_heads = 70, .kv_heads = 1, .head_dim = 4});
}

TEST_CASE("[evicting_scan] soft-capped logits; sharp and flat softmax") {
  for (const float softcap : {0.5F, 30.0F})
    check_against_reference({.scale = 1, .softcap = softcap, .seed = 2});
  for (const float scale : {1e-2F, 1.5F}) check_against_reference({.scale = scale, .seed = 2});
}

TEST_CASE("[evicting_scan] the model's own window takes keys away that are not counted as evicted") {
  for (const Choice choice : choices) {
    for (const int64_t window : {1, 2, 7, 12, 13, 30, 59, 60, 100})
      check_against_reference({.query_heads = 4, .window = window, .choice = choice});
  }
}

TEST_CASE("[evicting_scan] a full prefill attends to the whole prompt and then cuts") {
  for (const int64_t prompt : {0, 1, 2, 12, 13, 47, 48, 49, 59, 60, 100}) {
    for (const Choice choice : {Choice::oldest, Choice::least_weight, Choice::newest}) {
      check_against_reference({.prompt = prompt, .choice = choice, .seed = 5});
      check_against_reference({.window = 20, .prompt = prompt, .choice = choice, .seed = 5});
    }
  }
}

TEST_CASE("[evicting_scan] full attention of another run: its queries, keys and outputs are compared with") {
  for (const Choice choice : choices) {
    for (const int64_t window : {0, 25}) {
      for (const int64_t pairs : {0, 8}) {
        check_against_reference({.query_heads = 4,
                                 .window = window,
                                 .one_group = window > 0,
                                 .choice = choice,
                                 .rotary_pairs = pairs,
                                 .own_full = false});
      }
    }
  }
}

TEST_CASE("[evicting_scan] cache positions: keys are rotated at their rank among the held keys") {
  for (const bool interleaved : {false, true}) {
    for (const int64_t pairs : {1, 4, 8, 17, 20}) {
      for (const Choice choice : {Choice::nothing, Choice::oldest, Choice::least_weight, Choice::random}) {
        const ScanCase c{.query_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 40,
                         .scale = 0.2F,
                         .choice = choice,
                         .rotary_pairs = pairs,
                         .interleaved = interleaved};
        check_against_reference(c);
        check_against_reference(c, {});
      }
    }
  }
  for (const Choice choice : choices) {
    check_against_reference({.query_heads = 4,
                             .softcap = 4,
                             .window = 30,
                             .one_group = true,
                             .prompt = 15,
                             .choice = choice,
                             .rotary_pairs = 8});
  }
}

TEST_CASE("[evicting_scan] ALiBi goes by original positions, under cache positions by ranks") {
  for (const Choice choice : choices) {
    for (const bool ranks : {false, true}) {
      const ScanCase c{.query_heads = 6,
                       .kv_heads = 2,
                       .head_dim = 24,
                       .tokens = 130,
                       .scale = 0.3F,
                       .budget = 31,
                       .choice = choice,
                       .alibi = 0.07F,
                       .ranks = ranks};
      check_against_reference(c);
      check_against_reference(c, {});
      ScanCase other = c;
      other.softcap = 2;
      other.window = 50;
      other.one_group = true;
      other.prompt = 20;
      other.own_full = false;
      check_against_reference(other);
      other.per_query_head = true;
      check_against_reference(other);
    }
  }
  // Both: keys are rotated and biased by their rank.
  check_against_reference({.query_heads = 4, .rotary_pairs = 5, .alibi = 0.05F});
}

TEST_CASE("[evicting_scan] cache positions without evictions are the original ones") {
  const ScanCase c{.choice = Choice::nothing, .rotary_pairs = 8};
  ScanCase original = c;
  original.rotary_pairs = 0;
  ScanData data(c);
  run(data, c, {}, c.tokens);
  const std::vector<float> rotated_on_use = data.out;
  std::fill(data.out.begin(), data.out.end(), -7.0F);
  run(data, original, {}, c.tokens);
  CHECK(deviation(rotated_on_use, {data.out.begin(), data.out.end()}) <= scan_tolerance);
}

TEST_CASE("[evicting_scan] more keys than the table of cache positions has rows are refused") {
  const ScanCase c{.budget = 12, .rotary_pairs = 8};
  ScanData data(c);
  RotaryTable table = data.table();
  const ScanOptions options{.cache_positions = &table};
  Seen seen;
  table.positions = 13;
  EvictingScan(data.shape(), groups(c, data, seen), options).advance(data.input());
  table.positions = 12;
  CHECK_THROWS_WITH_AS(EvictingScan(data.shape(), groups(c, data, seen), options).advance(data.input()),
                       "[evicting scan] 13 keys are held, the table of rotary positions has 12 rows",
                       UsageError);
}

TEST_CASE("[evicting_scan] every size of a block and of a call gives the same") {
  for (const Choice choice : choices) {
    ScanCase c{.query_heads = 4, .window = 55, .prompt = 5, .choice = choice};
    if (choice == Choice::least_weight || choice == Choice::many_at_once) c.rotary_pairs = 8;
    ScanData data(c);
    const ReferenceScan want = reference_scan(data, c);
    const auto same = [&](const ScanOptions& options, int64_t stride) {
      CAPTURE(options.block);
      CAPTURE(stride);
      std::fill(data.out.begin(), data.out.end(), -7.0F);
      check(run(data, c, options, stride), want, data, c);
    };
    for (int64_t block = 1; block <= 64; ++block) same({.compare = block % 2 == 0, .block = block}, c.tokens);
    for (const int64_t stride : {1, 7, 59}) {
      same({.compare = true}, stride);
      same({}, stride);
    }
  }
}

/// The newest `budget` keys stay.
class Newest : public EvictionRule {
 public:
  explicit Newest(int64_t budget) : budget_(budget) {}
  void after_step(const ScanStep& step, std::span<SlotSet> sets) override {
    for (SlotSet& set : sets) {
      if (set.kept() > budget_) set.drop(set.column_of(step.position - budget_));
    }
  }

 private:
  int64_t budget_;
};

std::vector<DecisionGroup> newest(const ScanData& data, int64_t budget) {
  std::vector<DecisionGroup> all;
  for (const SlotOwner& owner : data.owners()) all.push_back({{owner}, std::make_unique<Newest>(budget)});
  return all;
}

size_t allocated() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST_CASE("[evicting_scan] memory follows the budget, not the text") {
  const int before = thread_count();
  set_thread_count(1);
  ScanData data({.query_heads = 1, .kv_heads = 1, .head_dim = 64, .tokens = 20000});
  const size_t at_first = allocated();
  EvictingScan scan(data.shape(), newest(data, 40), {});
  scan.advance(data.input());
  // Some bytes a token remember what left; keys and values of all tokens are 10 MB, logits 1.6 GB.
  CHECK(allocated() - at_first < 20000 * 40 + 400000);
  CHECK(scan.sets()[0]->kept_positions().front() == 19960);
  set_thread_count(before);
}

TEST_CASE("[evicting_scan] where nothing leaves, it is attention over all keys bit for bit") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    for (const float softcap : {0.0F, 5.0F}) {
      const ScanCase c{.query_heads = 3,
                       .kv_heads = 1,
                       .head_dim = softcap > 0 ? 24 : 64,
                       .tokens = 1050,
                       .softcap = softcap,
                       .budget = 1050,
                       .alibi = softcap / 100};
      ScanData data(c);
      const ScanShape shape = data.shape();
      const ScanInput input = data.input();
      attention({.query_heads = c.query_heads,
                 .kv_heads = c.kv_heads,
                 .head_dim = c.head_dim,
                 .queries = c.tokens,
                 .keys = c.tokens,
                 .scale = c.scale,
                 .softcap = c.softcap,
                 .alibi_slopes = shape.alibi_slopes,
                 .q = input.q,
                 .k = input.k,
                 .v = input.v,
                 .out = input.out},
                {});
      const std::vector<float> want = data.out;
      for (const int64_t block : {0, 7}) {
        std::fill(data.out.begin(), data.out.end(), -7.0F);
        EvictingScan scan(shape, newest(data, c.tokens), {.compare = block == 0, .block = block});
        scan.advance(data.input());
        CHECK(data.out == want);
        for (const HeadComparison& head : scan.comparisons()) {
          CHECK(head.error == std::vector<float>(1050, 0.0F));
          CHECK(head.mass == std::vector<float>(1050, 1.0F));
          CHECK(head.bound == std::vector<float>(1050, 1.0F));
          CHECK(head.hits == head.demands);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[evicting_scan] bitwise the same for 1, 2 and 3 threads") {
  const int before = thread_count();
  for (const Choice choice : {Choice::least_weight, Choice::shared_least_weight}) {
    for (const bool one_group : {false, true}) {
      const ScanCase c{.query_heads = 8,
                       .kv_heads = 4,
                       .tokens = 300,
                       .one_group = one_group,
                       .budget = 40,
                       .choice = choice};
      ScanData data(c);
      set_thread_count(1);
      const Run expected = run(data, c, {.compare = true}, c.tokens);
      const std::vector<float> out = head_output(data, c, 3);
      for (const int threads : {2, 3}) {
        set_thread_count(threads);
        const Run got = run(data, c, {.compare = true}, c.tokens);
        CHECK(head_output(data, c, 3) == out);
        CHECK(got.logs == expected.logs);
        CHECK(got.seen.weights == expected.seen.weights);
        for (size_t h = 0; h < 8; ++h) {
          CHECK(got.comparisons[h].mass == expected.comparisons[h].mass);
          CHECK(got.comparisons[h].bound == expected.comparisons[h].bound);
          CHECK(got.comparisons[h].error == expected.comparisons[h].error);
        }
      }
    }
  }
  set_thread_count(before);
}

TEST_CASE("[evicting_scan] every instruction set of this CPU gives the reference") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    for (const Choice choice : choices) {
      for (const int64_t head_dim : {24, 80}) {
        ScanCase c{.query_heads = 6, .head_dim = head_dim, .tokens = 75, .scale = 0.3F, .choice = choice};
        c.alibi = head_dim == 24 ? 0.1F : 0;
        c.window = head_dim == 24 ? 33 : 0;
        check_against_reference(c);
        c.rotary_pairs = head_dim / 2 - 1;
        check_against_reference(c);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[evicting_scan] a key that is not finite reaches the steps that attend to it, and no other") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (const float softcap : {0.0F, 20.0F}) {
    for (const int64_t pairs : {0, 8}) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), inf, -inf}) {
        const ScanCase c{
            .query_heads = 2, .kv_heads = 1, .tokens = 100, .softcap = softcap, .rotary_pairs = pairs};
        ScanData clean(c), data(c);
        const RotaryTable table = clean.table();
        const auto output = [&](ScanData& of) {
          const ScanOptions options{.compare = true, .cache_positions = pairs > 0 ? &table : nullptr};
          EvictingScan(of.shape(), newest(of, 10), options).advance(of.input());
          return head_output(of, c, 1);
        };
        (pairs > 0 ? data.key_pre_rope : data.k)[static_cast<size_t>(30 * (c.head_dim + c.gap))] = bad;
        const std::vector<float> want = output(clean), got = output(data);
        for (int64_t t = 0; t < c.tokens; ++t) {
          const auto at = static_cast<size_t>(t * c.head_dim);
          CAPTURE(t);
          if (t < 30 || t > 40)
            CHECK(got[at] == want[at]);
          else
            CHECK(std::isnan(got[at]));
        }
      }
    }
  }
}

TEST_CASE("[evicting_scan] a scan that is moved goes on where it was") {
  const ScanCase c{};
  ScanData data(c);
  Seen seen;
  EvictingScan first(data.shape(), groups(c, data, seen), {.compare = true});
  first.advance(data.input(0, 30));
  EvictingScan second(std::move(first));
  second.advance(data.input(30, 30));
  CHECK(second.tokens() == 60);
  CHECK(second.comparisons()[1].error.size() == 60);
  CHECK(deviation(head_output(data, c, 1), reference_scan(data, c).heads[1].out) <= scan_tolerance);
}

}  // namespace
}  // namespace kvviz::kernels
