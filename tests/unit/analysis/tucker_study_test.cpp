// SPDX-License-Identifier: MIT
#include "kvviz/analysis/tucker_study.hpp"

#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

RankChoice choice(const TuckerRanks& ranks) {
  return [ranks](size_t, const stats::TensorView& x) { return ranks_for(ranks, x); };
}

std::vector<TuckerPart> parts_of(const KvCache& cache, const TuckerRanks& ranks, const Halves& halves = {},
                                 int max_sweeps = 100) {
  std::vector<TuckerPart> parts;
  add(parts, decompose(cache.view(), halves, choice(ranks), max_sweeps), spectra(cache.view(), halves));
  return parts;
}

/// Keys of multilinear rank (2, 3, 2): sums of products of a wave along each mode. Values: noise.
KvCache low_rank_cache() {
  KvCache cache = test::gaussian_cache({{4, 20, 8}, {4, 20, 8}}, 3);
  for (LayerKv& layer : cache.layers)
    layer.key = test::tensor_of({4, 20, 8}, [](int64_t h, int64_t t, int64_t d) {
      const auto wave = [](int64_t i, double f) { return std::sin(f * static_cast<double>(i + 1)); };
      return wave(h, 0.9) * wave(t, 0.3) * wave(d, 0.7) + wave(h, 1.9) * wave(t, 0.8) * wave(d, 1.3) +
             wave(h, 0.9) * wave(t, 2.1) * wave(d, 1.3);
    });
  return cache;
}

const TuckerPart& part(const std::vector<TuckerPart>& parts, int layer, Half half) {
  for (const TuckerPart& p : parts)
    if (p.layer == layer && p.half == half) return p;
  FAIL("no such part");
  return parts.front();
}

}  // namespace

TEST_CASE("[tucker study] keys of exact multilinear rank: no error, and the ratio by hand") {
  const auto parts = parts_of(low_rank_cache(), {2, 3, 2});
  REQUIRE(parts.size() == 4);
  const TuckerPart& key = part(parts, 1, Half::key);
  CHECK(key.error() < 1e-5);
  CHECK(key.ranks == std::array<double, 3>{2, 3, 2});
  CHECK(key.elements == 4 * 20 * 8);
  CHECK(key.stored == 2 * 3 * 2 + 4 * 2 + 20 * 3 + 8 * 2);
  CHECK(key.ratio() == doctest::Approx(640.0 / 96));
  CHECK(part(parts, 1, Half::value).error() > 0.5);  // noise
  // One rank less of any mode loses something.
  for (const TuckerRanks& fewer : {TuckerRanks{1, 3, 2}, {2, 2, 2}, {2, 3, 1}})
    CHECK(part(parts_of(low_rank_cache(), fewer), 0, Half::key).error() > 0.01);
}

TEST_CASE("[tucker study] full ranks: no error, an expansion") {
  const auto parts = parts_of(test::gaussian_cache({{3, 20, 8}}, 4), {3, 20, 8});
  for (const TuckerPart& p : parts) {
    CHECK(p.error() < 1e-5);
    CHECK(p.stored == 480 + 9 + 400 + 64);
    CHECK(p.ratio() < 1);
    CHECK(p.sweeps == 0);
  }
  const TuckerTotal keys = total(parts, Half::key);
  CHECK(keys.error < 1e-5);
  CHECK(keys.ratio == doctest::Approx(480.0 / 953));
}

TEST_CASE("[tucker study] the error never rises with a rank, and HOOI is at most HOSVD") {
  const KvCache cache = test::gaussian_cache({{3, 24, 8}}, 5);
  const auto error = [&](const TuckerRanks& ranks) { return parts_of(cache, ranks).front().error(); };
  for (int64_t r = 1; r < 8; ++r) {
    CHECK(error({3, 8, r + 1}) <= error({3, 8, r}) + 1e-6);
    CHECK(error({3, r + 1, 8}) <= error({3, r, 8}) + 1e-6);
  }
  for (int64_t r = 1; r < 3; ++r) CHECK(error({r + 1, 8, 4}) <= error({r, 8, 4}) + 1e-6);
  const TuckerRanks ranks{2, 6, 4};
  const TuckerPart hooi = parts_of(cache, ranks).front(), hosvd = parts_of(cache, ranks, {}, 0).front();
  CHECK(hooi.error() < hosvd.error());
  CHECK(hosvd.sweeps == 0);
  CHECK(hosvd.error() == hosvd.initial_error());
  CHECK(hooi.initial_error() == doctest::Approx(hosvd.error()).epsilon(1e-6));
}

TEST_CASE("[tucker study] the original tool's numbers at ranks of heads, tokens, channels" *
          doctest::test_suite("refdata")) {
  std::ifstream file(std::string(KVVIZ_REFDATA) + "/kv_cache_visualization_fixture.json");
  REQUIRE_MESSAGE(file.good(), "the parity fixture is missing in " KVVIZ_REFDATA);
  const auto want = nlohmann::json::parse(file).at("tucker_nontrivial");
  KvCache cache;
  for (int64_t l = 0; l < 2; ++l) {
    const auto half = [&](int64_t kind) {
      return test::tensor_of({2, 6, 4}, [&](int64_t h, int64_t t, int64_t d) {
        const auto n = static_cast<uint64_t>((((kind * 2 + l) * 2 + h) * 6 + t) * 4 + d);
        return static_cast<double>(n * 2654435761U % 1009) / 1009 - 0.5;
      });
    };
    LayerKv layer;
    layer.key = half(0);
    layer.value = half(1);
    cache.layers.push_back(layer);
  }
  // The sweeps end by a rule on the change of the error.
  constexpr Tol swept{.abs = 1e-3}, exact{.abs = 1e-5};
  const auto keys = [&](const std::vector<TuckerPart>& parts) {
    return std::vector<double>{part(parts, 0, Half::key).error(), part(parts, 1, Half::key).error()};
  };
  const auto small = parts_of(cache, {1, 4, 3}), tool = parts_of(cache, {2, 3, 2});
  check_close(keys(small), want.at("hooi_key_error_per_layer_rank(H1,T4,D3)").get<std::vector<double>>(),
              swept);
  check_close(keys(tool), want.at("hooi_key_error_per_layer_rank(H2,T3,D2)").get<std::vector<double>>(),
              swept);
  const auto errors = spectra(cache.view(), {.keys = true, .values = false});
  check_close(std::vector<double>{errors[0].error({1, 4, 3}), errors[1].error({1, 4, 3})},
              want.at("hosvd_key_error_per_layer_rank(H1,T4,D3)").get<std::vector<double>>(), exact);
  const auto& means = want.at("tool_ranks(2,3)").at("mean_err");
  check_close(total(tool, Half::key).mean_error, means.at("keys").get<double>(), swept);
  check_close(total(tool, Half::value).mean_error, means.at("values").get<double>(), swept);
  check_close(total(tool, Half::key).ratio, want.at("tool_ranks(2,3)").at("true_ratio").get<double>(), exact);
}

TEST_CASE("[tucker study] totals are of all layers as one tensor, not means") {
  // The second layer is 100 times larger: it is the whole, whatever the first loses.
  const KvCache cache = test::scaled(test::gaussian_cache({{2, 16, 8}, {2, 16, 8}}, 6), 1, 100);
  const auto parts = parts_of(cache, {1, 4, 4}, {.keys = true, .values = false});
  REQUIRE(parts.size() == 2);
  const TuckerTotal sum = total(parts, Half::key);
  CHECK(sum.error == doctest::Approx(parts[1].error()).epsilon(1e-3));
  CHECK(sum.mean_error == doctest::Approx((parts[0].error() + parts[1].error()) / 2));
  CHECK(std::isnan(total(parts, Half::value).error));
}

TEST_CASE("[tucker study] the error of one mode cut alone, from its definition") {
  const KvCache cache = test::gaussian_cache({{3, 10, 6}}, 7);
  const auto parts = parts_of(cache, {});
  const std::vector<double> x = test::elements(cache.layers[0].value);
  // The unfolding along tokens, written out: rows are tokens, columns heads x channels.
  Eigen::MatrixXd rows(10, 18);
  for (int h = 0; h < 3; ++h)
    for (int t = 0; t < 10; ++t)
      for (int d = 0; d < 6; ++d) rows(t, h * 6 + d) = x[(h * 10 + t) * 6 + d];
  const Eigen::VectorXd s = Eigen::JacobiSVD<Eigen::MatrixXd>(rows).singularValues();
  const TuckerCurve curve = curve_of(parts, Half::value, 1);
  REQUIRE(curve.pooled.size() == 10);
  for (int r = 1; r <= 10; ++r)
    check_close(curve.pooled[r - 1], std::sqrt(s.tail(10 - r).squaredNorm() / s.squaredNorm()),
                Tol{.abs = 1e-7});
  CHECK(curve.least == curve.pooled);
  CHECK(curve.greatest == curve.pooled);
  check_close(error_curve(std::vector<double>{9, 4, 3}),
              std::vector<double>{std::sqrt(7.0 / 16), std::sqrt(3.0 / 16), 0.0}, Tol{.abs = 1e-15});
  CHECK(error_curve(std::vector<double>{0, 0}) == std::vector<double>{0, 0});
}

TEST_CASE("[tucker study] layers of one curve: pooled by energy, between the least and the greatest") {
  const auto parts = parts_of(low_rank_cache(), {2, 3, 2});
  std::vector<TuckerPart> mixed = parts;
  mixed[2].energies[1] = {16, 9};  // another layer: two directions of the tokens
  mixed[0].energies[1] = {100};
  const TuckerCurve curve = curve_of(mixed, Half::key, 1);
  check_close(curve.pooled, std::vector<double>{std::sqrt(9.0 / 125), 0.0}, Tol{.abs = 1e-15});
  check_close(curve.greatest, std::vector<double>{0.6, 0.0}, Tol{.abs = 1e-15});
  CHECK(curve.least == std::vector<double>{0, 0});
}

TEST_CASE("[tucker study] ranks asked for: what is not given stays whole, nothing given compresses") {
  const stats::TensorView x{nullptr, 4, 256, 16};
  CHECK(ranks_for({}, x) == stats::Ranks{4, 16, 8});
  CHECK(ranks_for({.tokens = 9}, x) == stats::Ranks{4, 9, 16});
  CHECK(ranks_for({.heads = 99, .channels = 2}, x) == stats::Ranks{99, 256, 2});
  CHECK(stats::stored_elements(ranks_for({}, x), x) * 3 < x.elements());
  CHECK(ranks_at_step(1, x) == stats::Ranks{1, 8, 2});
  CHECK(ranks_at_step(3, x) == stats::Ranks{2, 24, 6});
  CHECK(ranks_at_step(tucker_steps, x) == stats::Ranks{4, 64, 16});
  CHECK(ranks_at_step(1, {nullptr, 1, 1, 1}) == stats::Ranks{1, 1, 1});
  const auto parts =
      parts_of(test::gaussian_cache({{2, 30, 8}}, 8), {.heads = 99, .tokens = 99, .channels = 3});
  CHECK(parts[0].asked == std::array<double, 3>{99, 99, 3});
  CHECK(parts[0].ranks == std::array<double, 3>{2, 6, 3});
  CHECK_THROWS_AS(parts_of(test::gaussian_cache({{2, 30, 8}}, 8), {.tokens = 0}), UsageError);
}

TEST_CASE("[tucker study] several caches add up; layers may differ in shape") {
  const KvCache a = test::gaussian_cache({{2, 12, 4}, {1, 12, 8}}, 9),
                b = test::gaussian_cache({{2, 20, 4}, {1, 20, 8}}, 10);
  std::vector<TuckerPart> parts = parts_of(a, {1, 3, 2});
  const std::vector<TuckerPart> alone = parts, other = parts_of(b, {1, 3, 2});
  add(parts, decompose(b.view(), {}, choice({1, 3, 2})), spectra(b.view(), {}));
  const auto errors = spectra(a.view(), {});
  for (size_t i = 0; i < parts.size(); ++i) {
    CHECK(parts[i].caches == 2);
    CHECK(parts[i].sizes[1] == 16);
    CHECK(parts[i].elements == alone[i].elements + other[i].elements);
    const double lost =
        std::pow(alone[i].error(), 2) * alone[i].energy + std::pow(other[i].error(), 2) * other[i].energy;
    CHECK(parts[i].error() == doctest::Approx(std::sqrt(lost / (alone[i].energy + other[i].energy))));
    const auto used = [&](size_t mode) { return static_cast<int64_t>(alone[i].ranks[mode]); };
    CHECK(alone[i].best_error() <= errors[i].error({used(0), used(1), used(2)}) + 1e-12);
    CHECK(alone[i].best[0] * alone[i].best[1] * alone[i].best[2] > 1);
  }
}

TEST_CASE("[tucker study] parts of some caches and of others are the parts of all") {
  const TuckerRanks ranks{1, 3, 2};
  std::vector<KvCache> caches;
  for (const int64_t tokens : {12, 20, 15})
    caches.push_back(test::gaussian_cache({{2, tokens, 4}, {1, tokens, 8}}, static_cast<unsigned>(tokens)));
  std::vector<TuckerPart> all = parts_of(caches[0], ranks), some, others = parts_of(caches[1], ranks);
  for (const size_t c : {1U, 2U})
    add(all, decompose(caches[c].view(), {}, choice(ranks)), spectra(caches[c].view(), {}));
  add(others, decompose(caches[2].view(), {}, choice(ranks)), spectra(caches[2].view(), {}));
  add(some, parts_of(caches[0], ranks));
  add(some, others);
  REQUIRE(some.size() == all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const TuckerPart &one = some[i], &want = all[i];
    CHECK(one.layer == want.layer);
    CHECK(one.half == want.half);
    CHECK(one.caches == 3);
    CHECK(one.sweeps == want.sweeps);
    CHECK(one.asked[1] == 3);  // means of equal numbers are exact
    for (size_t mode = 0; mode < 3; ++mode) {
      CHECK(one.sizes[mode] == doctest::Approx(want.sizes[mode]));
      CHECK(one.best[mode] == doctest::Approx(want.best[mode]));
      CHECK(one.asked[mode] == doctest::Approx(want.asked[mode]));
      REQUIRE(one.energies[mode].size() == want.energies[mode].size());
      for (size_t r = 0; r < one.energies[mode].size(); ++r)
        CHECK(one.energies[mode][r] == doctest::Approx(want.energies[mode][r]));
    }
    CHECK(one.elements == want.elements);
    CHECK(one.stored == want.stored);
    CHECK(one.error() == doctest::Approx(want.error()));
    CHECK(one.initial_error() == doctest::Approx(want.initial_error()));
    CHECK(one.best_error() == doctest::Approx(want.best_error()));
  }
  CHECK_THROWS_AS(add(some, std::span(others).first(1)), std::logic_error);
}

TEST_CASE("[tucker study] half precision is widened; a cache that is not finite names its layer") {
  const KvCache cache = test::gaussian_cache({{2, 12, 4}, {2, 12, 4}}, 11);
  const auto wide = parts_of(cache, {1, 3, 2}),
             narrow = parts_of(test::converted(cache, at::kHalf), {1, 3, 2});
  CHECK(narrow[0].error() == doctest::Approx(wide[0].error()).epsilon(1e-2));
  KvCache damaged = cache;
  damaged.layers[1].value = test::tensor_of({2, 12, 4}, [](int64_t, int64_t t, int64_t) {
    return t == 5 ? std::numeric_limits<double>::infinity() : 1.0;
  });
  const std::string message = test::message_of<DataError>([&] { parts_of(damaged, {1, 3, 2}); });
  CHECK_MESSAGE(test::holds(message, "layer 1 values"), message);
}

TEST_CASE("[tucker study] ranks that a table shows") {
  CHECK(shown_ranks(1) == std::vector<int64_t>{1});
  CHECK(shown_ranks(4) == std::vector<int64_t>{1, 2, 3, 4});
  CHECK(shown_ranks(20) == std::vector<int64_t>{1, 2, 3, 4, 6, 8, 12, 16, 20});
  CHECK(shown_ranks(0).empty());
}

TEST_CASE("[tucker study] the smallest of a family within a loss") {
  TuckerStudy study;
  const auto point = [](const char* family, double bytes, double delta) {
    TuckerOutcome o{.family = family};
    o.outcome.ppl = 100 + delta, o.outcome.delta_ppl = delta, o.outcome.payload_bytes = bytes;
    o.outcome.f16_bytes = 60;
    return o;
  };
  study.sweep = {point("tucker", 50, 0.5), point("tucker", 20, 0.9), point("tucker", 10, 3),
                 point("svd", 5, 0.1)};
  CHECK(smallest_within(study, "tucker", 1)->outcome.bytes() == 20);
  CHECK(smallest_within(study, "tucker", 0.9) == &study.sweep[0]);
  CHECK(smallest_within(study, "svd", 1) == &study.sweep[3]);
  CHECK(smallest_within(study, "svd", 0.05) == nullptr);
  study.sweep = {point("tucker", 61, 0)};  // an expansion
  CHECK(smallest_within(study, "tucker", 1) == nullptr);
}
