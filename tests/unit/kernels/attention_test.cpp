// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention.hpp"

#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "kvviz/kernels/thread_pool.hpp"
#include "unit/kernels/check_attention.hpp"

namespace kvviz::kernels {
namespace {

using test::AttentionCase;
using test::AttentionData;
using test::check_against_reference;
using test::everything;

TEST_CASE("[attention] output and all statistics equal the double reference at every size") {
  for (const int64_t tokens : {1, 2, 3, 17, 64, 65, 127, 200, 513}) {
    const AttentionCase c{.queries = tokens, .keys = tokens, .seed = static_cast<unsigned>(tokens)};
    check_against_reference(c, everything(c));
  }
}

TEST_CASE("[attention] every head width, dense and strided") {
  for (const int64_t head_dim : {1, 3, 8, 16, 24, 64, 80, 96, 128, 200}) {
    for (const int64_t gap : {0, 5}) {
      const AttentionCase c{.head_dim = head_dim,
                            .queries = 110,
                            .keys = 110,
                            .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                            .gap = gap};
      check_against_reference(c, everything(c));
    }
  }
}

TEST_CASE("[attention] grouped queries read their own KV head") {
  for (const int64_t queries : {1, 3, 70}) {
    for (const int64_t kv_heads : {1, 2, 3}) {
      const AttentionCase c{.query_heads = 6, .kv_heads = kv_heads, .queries = queries, .keys = 70};
      check_against_reference(c, everything(c));
    }
  }
  // More query heads per KV head than rows in a block.
  const AttentionCase wide{.query_heads = 130, .kv_heads = 1, .head_dim = 4, .queries = 1, .keys = 40};
  check_against_reference(wide, everything(wide));
}

TEST_CASE("[attention] queries behind a cache stand at the last positions") {
  for (const int64_t queries : {1, 2, 5, 7, 8, 9, 33, 100, 299}) {
    const AttentionCase c{.queries = queries, .keys = 300};
    check_against_reference(c, everything(c));
  }
}

TEST_CASE("[attention] windows") {
  for (const int64_t window : {1, 2, 16, 63, 64, 100, 400, 1000}) {
    for (const int64_t queries : {1, 6, 50, 400}) {
      const AttentionCase c{.queries = queries, .keys = 400, .window = window};
      check_against_reference(c, everything(c));
    }
  }
}

TEST_CASE("[attention] soft-capped logits") {
  for (const float softcap : {0.5F, 30.0F}) {
    for (const int64_t queries : {4, 150}) {
      const AttentionCase c{.queries = queries, .keys = 150, .scale = 2, .softcap = softcap};
      check_against_reference(c, everything(c));
    }
  }
}

TEST_CASE("[attention] ALiBi: every head its slope times the distance of key and query, then the soft cap") {
  for (const float slope : {0.5F, 0.01F, -0.02F}) {
    for (const int64_t queries : {1, 5, 7, 8, 50, 211}) {
      const AttentionCase c{
          .query_heads = 6, .kv_heads = 2, .head_dim = 24, .queries = queries, .keys = 211, .alibi = slope};
      check_against_reference(c, everything(c));
      AttentionCase windowed = c, capped = c, apart = c;
      windowed.window = 37;
      check_against_reference(windowed, everything(windowed));
      capped.softcap = 3;
      check_against_reference(capped, everything(capped));
      apart.first_position = 5;
      apart.gap = 3;
      check_against_reference(apart, everything(apart));
    }
  }
}

TEST_CASE("[attention] ALiBi far into a text is as exact as at its start") {
  // Positions that f32 does not hold: only their difference is small.
  for (const int64_t queries : {3, 60}) {
    AttentionCase c{
        .queries = queries, .keys = 130, .scale = 0, .alibi = 0.25F, .first_position = 20'000'001};
    check_against_reference(c, everything(c));
    AttentionData far(c);
    c.first_position = 0;
    AttentionData near(c);
    attention(far.problem(), {});
    attention(near.problem(), {});
    CHECK(far.out == near.out);
  }
}

TEST_CASE("[attention] a slope of zero is no bias, bit for bit") {
  for (const int64_t queries : {2, 90}) {
    const AttentionCase c{.queries = queries, .keys = 90};
    AttentionData plain(c), biased(c);
    attention(plain.problem(), {});
    AttentionProblem problem = biased.problem();
    const std::vector<float> slopes(static_cast<size_t>(c.query_heads), 0.0F);
    problem.alibi_slopes = slopes;
    attention(problem, {});
    CHECK(plain.out == biased.out);
  }
}

TEST_CASE("[attention] sharp and flat softmax") {
  for (const float scale : {0.0F, 1e-3F, 1.5F}) {
    const AttentionCase c{.queries = 130, .keys = 130, .scale = scale};
    check_against_reference(c, everything(c));
  }
}

TEST_CASE("[attention] request fields change what they say") {
  const AttentionCase c{.queries = 160, .keys = 200};
  check_against_reference(c,
                          {.statistics = true, .first_keys = 0, .recent_queries = 0, .sampled_queries = 0});
  check_against_reference(c, {.statistics = true, .first_keys = 150, .recent_queries = 13, .map_bins = 1});
  check_against_reference(c, {.statistics = true, .first_keys = 999, .recent_queries = 999, .map_bins = 160});
  check_against_reference(c, {.statistics = true, .map_bins = 1000, .sampled_queries = 1});
  check_against_reference(c, {.statistics = true, .map_bins = 33, .sampled_queries = 1000});
}

TEST_CASE("[attention] a long head is several tasks whose sums are merged") {
  const AttentionCase c{
      .query_heads = 1, .kv_heads = 1, .head_dim = 8, .queries = 2100, .keys = 2200, .seed = 5};
  check_against_reference(
      c, {.statistics = true, .recent_queries = 1500, .map_bins = 24, .sampled_queries = 100});
  // Early queries end inside the third task; the watched key is seen from the second on.
  check_against_reference(c, {.statistics = true, .early_queries = 1777, .watched_key = 1100});
}

TEST_CASE("[attention] early queries and the watched key, wherever they stop") {
  for (const int64_t queries : {1, 7, 8, 47, 48, 49, 130}) {
    for (const int64_t window : {0, 5, 64}) {
      for (const int64_t early : {0, 1, 47, 48, 64, 65, 129, 130, 500}) {
        for (const int64_t watched : {-1, 0, 1, 63, 129, 400}) {
          const AttentionCase c{.query_heads = 1,
                                .kv_heads = 1,
                                .head_dim = 4,
                                .queries = queries,
                                .keys = 130,
                                .window = window};
          AttentionRequest request{.statistics = true, .early_queries = early, .watched_key = watched};
          CAPTURE(early);
          CAPTURE(watched);
          if (watched < c.keys) {
            check_against_reference(c, request);
            continue;
          }
          // A key that does not exist yet is seen by no query.
          AttentionData data(c);
          const auto heads = attention(data.problem(), request);
          CHECK(heads[0].watched_mass == std::vector<float>(static_cast<size_t>(queries), 0.0F));
        }
      }
    }
  }
}

TEST_CASE("[attention] sum over k of (T - k + 1) alpha_k is T in every head, with and without a window") {
  for (const int64_t window : {0, 48}) {
    const AttentionCase c{
        .query_heads = 4, .kv_heads = 2, .queries = 700, .keys = 700, .scale = 1, .window = window};
    AttentionData data(c);
    for (const int64_t tokens : {1, 2, 64, 65, 512, 700}) {
      const auto heads = attention(data.problem(), {.statistics = true, .early_queries = tokens});
      for (const HeadAttention& head : heads) {
        REQUIRE(head.early_mass.size() == static_cast<size_t>(tokens));
        CHECK(std::accumulate(head.early_mass.begin(), head.early_mass.end(), 0.0) ==
              doctest::Approx(static_cast<double>(tokens)).epsilon(1e-6));
        // The same alpha_1 as from the rows, and alpha_T is the last query's weight on itself.
        const double first = std::accumulate(head.sink_mass.begin(), head.sink_mass.begin() + tokens, 0.0);
        CHECK(head.early_mass[0] == doctest::Approx(first).epsilon(1e-6));
        const auto last = static_cast<size_t>(tokens - 1);
        CHECK(head.early_mass[last] ==
              doctest::Approx(static_cast<double>(head.self_mass[last])).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("[attention] uniform attention has alpha_1 = H_T / T at T = 64") {
  const AttentionCase c{.queries = 64, .keys = 64, .scale = 0};
  AttentionData data(c);
  const auto heads = attention(data.problem(), {.statistics = true});
  const std::vector<float>& sink = heads[0].sink_mass;
  CHECK(std::accumulate(sink.begin(), sink.end(), 0.0) / 64 == doctest::Approx(0.0741233).epsilon(1e-6));
  for (size_t i = 0; i < 64; ++i) {
    CHECK(heads[0].entropy[i] == doctest::Approx(std::log(static_cast<double>(i + 1))).epsilon(1e-6));
    CHECK(heads[0].distance[i] == doctest::Approx(static_cast<double>(i) / 2).epsilon(1e-6));
    CHECK(heads[0].small_share[i] == 0);
  }
}

TEST_CASE("[attention] a query that sees one key gives it all its weight, exactly") {
  const AttentionCase c{.queries = 20, .keys = 20, .window = 1};
  AttentionData data(c);
  const auto heads = attention(data.problem(), {.statistics = true});
  for (int64_t i = 0; i < 20; ++i) {
    CHECK(std::equal(data.problem().v.at(1, i), data.problem().v.at(1, i) + 16, data.problem().out.at(1, i)));
    CHECK(heads[1].key_mass[static_cast<size_t>(i)] == 1.0);
    CHECK(heads[1].entropy[static_cast<size_t>(i)] < 1e-30F);
    CHECK(heads[1].distance[static_cast<size_t>(i)] < 1e-30F);
  }
}

TEST_CASE("[attention] without statistics the output is the same and nothing is returned") {
  for (const int64_t queries : {2, 300}) {
    const AttentionCase c{.queries = queries, .keys = 300};
    AttentionData with(c), without(c);
    attention(with.problem(), everything(c));
    CHECK(attention(without.problem(), {}).empty());
    CHECK(with.out == without.out);
  }
}

bool same(const std::vector<HeadAttention>& a, const std::vector<HeadAttention>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const HeadAttention& x, const HeadAttention& y) {
        return x.key_mass == y.key_mass && x.recent_mass == y.recent_mass && x.early_mass == y.early_mass &&
               x.entropy == y.entropy && x.distance == y.distance && x.first_mass == y.first_mass &&
               x.sink_mass == y.sink_mass && x.self_mass == y.self_mass && x.watched_mass == y.watched_mass &&
               x.heaviest_mass == y.heaviest_mass && x.small_share == y.small_share &&
               x.top_mass == y.top_mass && x.map == y.map && x.exact == y.exact;
      });
}

TEST_CASE("[attention] bitwise the same for 1, 2 and 3 threads") {
  const int before = thread_count();
  for (const int64_t queries : {1, 5, 600, 1300}) {
    const AttentionCase c{.query_heads = 3, .kv_heads = 1, .queries = queries, .keys = 1300};
    const AttentionRequest request = everything(c);
    AttentionData one(c);
    set_thread_count(1);
    const auto expected = attention(one.problem(), request);
    for (const int threads : {2, 3}) {
      set_thread_count(threads);
      AttentionData many(c);
      CHECK(same(attention(many.problem(), request), expected));
      CHECK(many.out == one.out);
    }
  }
  set_thread_count(before);
}

TEST_CASE("[attention] every instruction set of this CPU gives the reference") {
  const auto targets = hwy::SupportedAndGeneratedTargets();
  for (const int64_t target : targets) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    for (const int64_t head_dim : {3, 24, 80, 128}) {
      for (const int64_t window : {0, 37}) {
        for (const int64_t queries : {3, 230}) {
          const AttentionCase c{.query_heads = 4,
                                .head_dim = head_dim,
                                .queries = queries,
                                .keys = 230,
                                .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                                .window = window,
                                .gap = 3};
          check_against_reference(c, everything(c));
        }
      }
    }
    const AttentionCase capped{.queries = 90, .keys = 90, .softcap = 5, .alibi = 0.1F};
    check_against_reference(capped, everything(capped));
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace kvviz::kernels
