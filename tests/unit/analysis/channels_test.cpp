// SPDX-License-Identifier: MIT
#include "kvviz/analysis/channels.hpp"

#include <cmath>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;

TEST_CASE("[channels] a planted outlier is found, with its RoPE frequency; noise has none") {
  KvCache cache = test::gaussian_cache({{2, 100, 8}, {2, 100, 8}}, 1);
  CHECK(channels(cache.view(), {}).outliers.empty());
  auto* key = cache.layers[1].key.data_ptr<float>() + 100 * 8;  // layer 1, head 1
  auto* value = cache.layers[0].value.data_ptr<float>();
  for (int64_t t = 0; t < 100; ++t) {
    key[t * 8 + 5] *= 10;
    value[t * 8 + 2] *= 5;
  }
  cache.pairing = RopePairing::half;
  cache.rotary_dim = 8;
  ChannelsResult result = channels(cache.view(), {});
  REQUIRE(result.outliers.size() == 2);
  CHECK(result.outliers[0].layer == 1);
  CHECK(result.outliers[0].head == 1);
  CHECK(result.outliers[0].half == Half::key);
  CHECK(result.outliers[0].channel == 5);
  CHECK(result.outliers[0].frequency == 1);  // 5 pairs with 1
  CHECK(result.outliers[0].ratio == doctest::Approx(10).epsilon(0.2));
  CHECK(result.outliers[1].half == Half::value);
  CHECK(result.outliers[1].channel == 2);
  CHECK(result.outliers[1].frequency == -1);
  cache.pairing = RopePairing::interleaved;
  CHECK(channels(cache.view(), {}).outliers[0].frequency == 2);  // 5 pairs with 4
  cache.rotary_dim = 4;
  CHECK(channels(cache.view(), {}).outliers[0].frequency == -1);
  ChannelsOptions strict;
  strict.outlier_ratio = 20;
  CHECK(channels(cache.view(), strict).outliers.empty());
}

TEST_CASE("[channels] the energy of a RoPE pair does not depend on the rotation") {
  constexpr int64_t tokens = 40, dim = 6, half = 2;  // 4 rotated channels, 2 that are not
  KvCache cache = test::gaussian_cache({{1, tokens, dim}}, 2);
  cache.pairing = RopePairing::half;
  cache.rotary_dim = 4;
  KvCache rotated = cache;
  const auto rows = test::rows_of(cache.layers[0].key, 0);
  rotated.layers[0].key = test::tensor_of({1, tokens, dim}, [&](int64_t, int64_t t, int64_t d) {
    if (d >= 4) return rows[t][d];
    const double angle = static_cast<double>(t) / std::pow(100.0, static_cast<double>(d % half) / half);
    return d < half ? std::cos(angle) * rows[t][d] - std::sin(angle) * rows[t][d + half]
                    : std::sin(angle) * rows[t][d - half] + std::cos(angle) * rows[t][d];
  });
  const HeadChannels before = channels(cache.view(), {}).rows[0],
                     after = channels(rotated.view(), {}).rows[0];
  REQUIRE(before.key_pair_rms.size() == 2);
  check_close(after.key_pair_rms, before.key_pair_rms, Tol{.rel = 1e-6});  // f32 elements
  CHECK(std::fabs(after.key.rms[0] - before.key.rms[0]) > 1e-3);
  double energy = 0;
  for (const auto& row : rows) energy += (row[1] * row[1] + row[3] * row[3]) / tokens;
  check_close(before.key_pair_rms[1], std::sqrt(energy), Tol{.rel = 1e-12});
  cache.pairing = RopePairing::interleaved;
  energy = 0;
  for (const auto& row : rows) energy += (row[2] * row[2] + row[3] * row[3]) / tokens;
  check_close(channels(cache.view(), {}).rows[0].key_pair_rms[1], std::sqrt(energy), Tol{.rel = 1e-12});
  cache.pairing = RopePairing::none;
  CHECK(channels(cache.view(), {}).rows[0].key_pair_rms.empty());
}

TEST_CASE("[channels] a rotary size that does not fit is refused") {
  KvCache cache = test::gaussian_cache({{1, 4, 6}}, 3);
  cache.pairing = RopePairing::half;
  for (const int rotary : {0, 3, 8}) {
    cache.rotary_dim = rotary;
    CHECK_THROWS_AS(channels(cache.view(), {}), DataError);
  }
}

TEST_CASE("[channels] numbers of one channel by hand") {
  KvCache cache = test::gaussian_cache({{1, 4, 3}}, 4);
  const std::vector<double> x{40, 1, 0, 2, -1, 0, -2, 1, 0, 5, -1, 0};
  cache.layers[0].key = test::tensor_of({1, 4, 3}, [&](auto, auto t, auto d) { return x[t * 3 + d]; });
  const ChannelHalf key = channels(cache.view(), {}).rows[0].key;
  check_close(key.rms, std::vector<double>{std::sqrt(1633 / 4.0), 1, 0}, Tol{.rel = 1e-15});
  check_close(key.rms_ratio, std::vector<double>{std::sqrt(1633 / 4.0), 1, 0}, Tol{.rel = 1e-15});
  CHECK(key.abs_max == std::vector<double>{40, 1, 0});
  CHECK(key.excess_kurtosis[1] == -2);
  CHECK(std::isnan(key.excess_kurtosis[2]));
  check_close(key.variation[0], std::sqrt(2.0) / 3,
              Tol{.rel = 1e-15});  // |x| = 2 2 5, without the first token
  CHECK(key.variation[1] == 0);
  CHECK(std::isnan(key.variation[2]));
  ChannelsOptions all;
  all.skip_first = 0;
  const ChannelHalf whole = channels(cache.view(), all).rows[0].key;
  CHECK(whole.variation[0] > 1);
}

TEST_CASE("[channels] patterns: the most and the least variable, keys and values apart") {
  KvCache cache = test::gaussian_cache({{1, 64, 4}, {2, 64, 4}}, 5);
  cache.layers[1].key = test::tensor_of({2, 64, 4}, [](int64_t h, int64_t t, int64_t d) {
    if (h == 1 && d == 3) return t == 20 ? 100.0 : 1.0;  // one spike after the first token
    if (h == 0 && d == 2) return t == 0 ? 500.0 : -2.0;  // constant but for the sink: not variable
    return 1 + 0.5 * std::sin(static_cast<double>(t * (d + 1)));
  });
  ChannelsOptions options;
  options.patterns = 2;
  const ChannelsResult result = channels(cache.view(), options);
  REQUIRE(result.key_patterns.most.size() == 2);
  REQUIRE(result.key_patterns.least.size() == 2);
  const ChannelPattern& most = result.key_patterns.most[0];
  CHECK(most.layer == 1);
  CHECK(most.head == 1);
  CHECK(most.channel == 3);
  check_close(most.values[20] / most.values[19], 100, Tol{.rel = 1e-12});
  const ChannelPattern& least = result.key_patterns.least[0];
  CHECK(least.layer == 1);
  CHECK(least.head == 0);
  CHECK(least.channel == 2);
  CHECK(least.variation == 0);
  CHECK(least.values[0] == 250);
  CHECK(least.values[63] == 1);
  CHECK(result.value_patterns.most[0].variation >= result.value_patterns.most[1].variation);
  CHECK(result.value_patterns.most[0].variation <
        1.2);  // |x| of Gaussian noise: 0.76, not chosen by the keys
  options.patterns = 0;
  CHECK(channels(cache.view(), options).key_patterns.most.empty());
}

TEST_CASE("[channels] prunable channels: all layers, keys and values apart") {
  KvCache cache = test::gaussian_cache({{1, 10, 2}, {1, 10, 2}}, 6);
  for (LayerKv& layer : cache.layers) {
    layer.key = test::tensor_of({1, 10, 2}, [](auto, auto t, auto d) { return d == 0 && t < 5 ? 0.0 : 1.0; });
    layer.value = test::tensor_of({1, 10, 2}, [](auto, auto, auto) { return 1.0; });
  }
  const LegacyChannels legacy = channels(cache.view(), {}).legacy;
  CHECK(legacy.prunable_keys == 2);
  CHECK(legacy.prunable_values == 0);
}

TEST_CASE("[channels] legacy sparsity of a channel, keys and values with thresholds of their own") {
  const KvCache cache = test::gaussian_cache({{2, 50, 3}}, 8);
  ChannelsOptions options;
  options.legacy.percent = 20;
  const ChannelsResult result = channels(cache.view(), options);
  CHECK(result.thresholds.k > 2 * result.thresholds.v);
  for (int64_t h = 0; h < 2; ++h) {
    const auto keys = test::rows_of(cache.layers[0].key, h), values = test::rows_of(cache.layers[0].value, h);
    for (int64_t d = 0; d < 3; ++d) {
      double k = 0, v = 0;
      for (int64_t t = 0; t < 50; ++t) {
        k += std::fabs(keys[t][d]) < result.thresholds.k ? 0.02 : 0;
        v += std::fabs(values[t][d]) < result.thresholds.v ? 0.02 : 0;
      }
      check_close(result.rows[h].key.legacy[d].sparsity, k, Tol{.abs = 1e-14});
      check_close(result.rows[h].value.legacy[d].sparsity, v, Tol{.abs = 1e-14});
    }
  }
}
