// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/attention.hpp"
#include "unit/kernels/guarded_floats.hpp"
#include "unit/kernels/reference.hpp"

namespace kvviz::kernels {
namespace {

using test::AttentionCase;
using test::AttentionData;

TEST_CASE("[attention] exact logits give weights exact to a few roundings, down to e^-80") {
  constexpr int64_t keys = 5121;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    const AttentionCase c{
        .query_heads = 1, .kv_heads = 1, .head_dim = 1, .queries = 1, .keys = keys, .scale = 1};
    AttentionData data(c);
    data.q = {1.0F};
    for (int64_t j = 0; j < keys; ++j) data.k[static_cast<size_t>(j)] = static_cast<float>(j - keys + 1) / 64;
    AttentionProblem p = data.problem();
    p.q.data = data.q.data();
    const auto heads = attention(p, {.statistics = true, .exact_heads = {0}});
    double total = 0, worst = 0;
    for (int64_t j = 0; j < keys; ++j) total += std::exp(static_cast<double>(j) / -64);
    for (int64_t j = 0; j < keys; ++j) {
      const double want = std::exp(static_cast<double>(j - keys + 1) / 64) / total;
      const double error = std::abs(heads[0].exact[static_cast<size_t>(j)] / want - 1);
      worst = error <= worst ? worst : error;
    }
    CHECK(worst < 6e-7);
    const double ratio = std::exp(-1.0 / 64);
    // Geometric weights: the mean distance is r / (1 - r), the share of small ones counts those beyond 64 ln
    // 100.
    CHECK(heads[0].distance[0] == doctest::Approx(ratio / (1 - ratio)).epsilon(1e-6));
    CHECK(heads[0].small_share[0] == doctest::Approx(static_cast<double>(keys - 295) / keys).epsilon(1e-7));
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[attention] nothing behind the last row of a tensor is read or written") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const int64_t head_dim : {1, 6, 24, 80}) {
      for (const int64_t queries : {1, 50}) {
        const AttentionCase c{.head_dim = head_dim, .queries = queries, .keys = 67};
        AttentionData data(c);
        test::GuardedFloats q(data.q), k(data.k), v(data.v), out(data.out);
        AttentionProblem p = data.problem();
        attention(p, {});
        p.q.data = q.data();
        p.k.data = k.data();
        p.v.data = v.data();
        p.out.data = out.data();
        attention(p, {});
        CHECK(std::equal(data.out.begin(), data.out.end(), out.data()));
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[attention] NaN, infinity and overflow do not crash, and reach the rows that see them") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto check = [](const AttentionCase& c, float bad) {
    const AttentionRequest request{.statistics = true, .heaviest_keys = 5, .map_bins = 7};
    AttentionData clean(c), data(c);
    attention(clean.problem(), request);
    // One query, of head 0: only its own row suffers.
    data.q[static_cast<size_t>(3 * c.head_dim + 2)] = bad;
    const auto heads = attention(data.problem(), request);
    CHECK(std::isnan(data.problem().out.at(0, 3)[0]));
    CHECK(std::isnan(heads[0].entropy[3]));
    CHECK(std::isnan(heads[0].small_share[3]));
    CHECK(std::isnan(heads[0].heaviest_mass[3]));
    for (int64_t i = 0; i < c.queries; ++i) {
      if (i != 3) CHECK(data.problem().out.at(0, i)[0] == clean.problem().out.at(0, i)[0]);
      CHECK(data.problem().out.at(1, i)[0] == clean.problem().out.at(1, i)[0]);
    }
    // One key, of KV head 1: every later query of head 1 sees it.
    AttentionData keyed(c);
    keyed.k[static_cast<size_t>((c.keys + 147) * c.head_dim)] = bad;
    attention(keyed.problem(), request);
    for (int64_t i = 0; i < c.queries; ++i) {
      CHECK(keyed.problem().out.at(0, i)[0] == clean.problem().out.at(0, i)[0]);
      CHECK(std::isnan(keyed.problem().out.at(1, i)[0]) == (c.keys - c.queries + i >= 147));
    }
  };
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const int64_t queries : {5, 150}) {
      for (const float softcap : {0.0F, 20.0F}) {
        AttentionCase c{.queries = queries, .keys = 150, .softcap = softcap};
        for (const float bad : {nan, inf, -inf}) check(c, bad);
        // Logits of order 1, which one number of 1e27 makes infinite.
        c.scale = 1e30F;
        c.spread = 1e-15F;
        for (const float bad : {1e27F, -1e27F}) check(c, bad);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[attention] no queries give empty statistics; an unknown exact head is refused") {
  AttentionData data({.queries = 0, .keys = 10});
  const auto heads = attention(data.problem(), {.statistics = true, .map_bins = 4});
  REQUIRE(heads.size() == 2);
  CHECK(heads[0].key_mass == std::vector<double>(10, 0.0));
  CHECK(heads[0].entropy.empty());
  CHECK_THROWS_WITH_AS(attention(data.problem(), {.statistics = true, .exact_heads = {2}}),
                       "[attention] exact head 2: this layer has heads 0..1", UsageError);
}

}  // namespace
}  // namespace kvviz::kernels
