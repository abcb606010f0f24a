// SPDX-License-Identifier: MIT
#include "kvviz/analysis/layers.hpp"

#include <cmath>
#include <numeric>

#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;

TEST_CASE("[layers] numbers over all heads agree with plain loops") {
  const KvCache cache = test::gaussian_cache({{3, 50, 8}, {2, 50, 6}}, 1);
  const LayersResult result = layers(cache.view(), {});
  REQUIRE(result.rows.size() == 2);
  for (size_t l = 0; l < 2; ++l) {
    const std::vector<double> k = test::elements(cache.layers[l].key),
                              v = test::elements(cache.layers[l].value);
    const auto n = static_cast<double>(k.size());
    const LayerRow& row = result.rows[l];
    const double mean = std::accumulate(k.begin(), k.end(), 0.0) / n;
    double l1 = 0, l2 = 0, l4 = 0, m2 = 0, m4 = 0, small = 0;
    for (const double x : k) {
      l1 += std::fabs(x);
      l2 += x * x;
      l4 += x * x * x * x;
      m2 += (x - mean) * (x - mean) / n;
      m4 += std::pow(x - mean, 4) / n;
    }
    for (const double x : k) small += std::fabs(x) < 0.1 * std::sqrt(l2 / n) ? 1 : 0;
    const Tol tol{.abs = 1e-12, .rel = 1e-12};
    check_close(row.key.rms, std::sqrt(l2 / n), tol);
    check_close(row.key.std, std::sqrt(m2), tol);
    check_close(row.key.mean_abs, l1 / n, tol);
    check_close(row.key.hoyer, (std::sqrt(n) - l1 / std::sqrt(l2)) / (std::sqrt(n) - 1), tol);
    check_close(row.key.participation_ratio, l2 * l2 / (n * l4), tol);
    check_close(row.key.excess_kurtosis, m4 / (m2 * m2) - 3, Tol{.abs = 1e-10});
    check_close(row.key.small_share, small / n, tol);
    const double v_mean = std::accumulate(v.begin(), v.end(), 0.0) / n;
    double v2 = 0, cross = 0, v_square = 0, v_small = 0;
    for (const double x : v) v_square += x * x / n;
    for (const double x : v) v_small += std::fabs(x) < 0.1 * std::sqrt(v_square) ? 1 : 0;
    check_close(row.value.small_share, v_small / n, tol);
    for (size_t i = 0; i < v.size(); ++i) {
      v2 += (v[i] - v_mean) * (v[i] - v_mean);
      cross += (v[i] - v_mean) * (k[i] - mean);
    }
    const double want = cross / n / (std::sqrt(m2 * n / (n - 1)) * std::sqrt(v2 / (n - 1)) + 1e-8);
    check_close(row.legacy_kv_correlation, want, Tol{.abs = 1e-12});
  }
}

TEST_CASE("[layers] geometry, bytes, means over the heads") {
  KvCache cache = test::gaussian_cache({{3, 50, 8}, {2, 50, 6}}, 2);
  cache.layers[1].window = 16;
  const HeadsResult head_rows = heads(cache.view(), {});
  const LayersResult result = layers(cache.view(), {}, head_rows);
  CHECK(result.rows[0].kv_heads == 3);
  CHECK(result.rows[1].head_dim == 6);
  CHECK(result.rows[1].window == 16);
  CHECK(result.rows[0].bytes == 2 * 3 * 50 * 8 * 4);
  CHECK(result.bytes == 2 * 3 * 50 * 8 * 4 + 2 * 2 * 50 * 6 * 4);
  const double rank = (head_rows.rows[3].key.effective_rank + head_rows.rows[4].key.effective_rank) / 2;
  check_close(result.rows[1].key.effective_rank, rank, Tol{.rel = 1e-15});
  check_close(result.rows[1].cka, (head_rows.rows[3].cka + head_rows.rows[4].cka) / 2, Tol{.rel = 1e-15});
  CHECK(layers(cache.view(), {}).rows[1].key.effective_rank == result.rows[1].key.effective_rank);
}

TEST_CASE("[layers] a head without a spectrum is left out of the mean") {
  KvCache cache = test::gaussian_cache({{2, 30, 4}}, 3);
  std::fill_n(cache.layers[0].key.data_ptr<float>(), 30 * 4, 1.0F);
  const HeadsResult head_rows = heads(cache.view(), {});
  REQUIRE(std::isnan(head_rows.rows[0].key.effective_rank));
  CHECK(layers(cache.view(), {}, head_rows).rows[0].key.effective_rank ==
        head_rows.rows[1].key.effective_rank);
}

TEST_CASE("[layers] keys and values of different width") {
  KvCache cache = test::gaussian_cache({{2, 30, 4}}, 4);
  cache.layers[0].value = test::gaussian_cache({{2, 30, 6}}, 5).layers[0].value;
  const LayersResult result = layers(cache.view(), {});
  CHECK(result.rows[0].head_dim == 4);
  CHECK(result.rows[0].value_dim == 6);
  CHECK(std::isnan(result.rows[0].legacy_kv_correlation));
  CHECK(result.rows[0].cka > 0);
}

TEST_CASE("[layers] head statistics of another cache are refused") {
  const KvCache cache = test::gaussian_cache({{2, 30, 4}, {2, 30, 4}}, 6),
                other = test::gaussian_cache({{3, 30, 4}}, 7);
  CHECK_THROWS(layers(cache.view(), {}, heads(other.view(), {})));
}
