// SPDX-License-Identifier: MIT
#include "kvviz/analysis/tokens.hpp"

#include <cmath>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;
using Vector = std::vector<double>;

namespace {

KvCache small_cache() {
  KvCache cache = test::gaussian_cache({{2, 3, 2}}, 1);
  const Vector keys{3, 4, 0, 0, 6, 8, /* head 1 */ 0, 5, 0, 0, 0, 0},
      values{1, 0, 2, 0, 3, 0, 0, 1, 0, 2, 0, 3};
  cache.layers[0].key =
      test::tensor_of({2, 3, 2}, [&](auto h, auto t, auto d) { return keys[(h * 3 + t) * 2 + d]; });
  cache.layers[0].value =
      test::tensor_of({2, 3, 2}, [&](auto h, auto t, auto d) { return values[(h * 3 + t) * 2 + d]; });
  return cache;
}

}  // namespace

TEST_CASE("[tokens] norms by hand") {
  const KvCache cache = small_cache();
  const TokensResult result = tokens(cache.view(), {});
  REQUIRE(result.layers.size() == 1);
  CHECK(result.layers[0].k_norm == Vector{5, 0, 5});
  CHECK(result.layers[0].v_norm == Vector{1, 2, 3});
  check_close(result.layers[0].k_norm_relative, Vector{1.5, 0, 1.5}, Tol{.abs = 1e-15});
  check_close(result.layers[0].v_norm_relative, Vector{0.5, 1, 1.5}, Tol{.abs = 1e-15});
  CHECK(result.layers[0].legacy_k_sparsity == Vector{0.25, 1, 0.5});
  check_close(result.rows[0].legacy_k_norm, std::sqrt(50.0), Tol{.rel = 1e-15});
  CHECK(result.rows[2].k_norm == 5);
  CHECK(result.rows[1].legacy_k_magnitude == 0);
  CHECK(result.layers[0].received.empty());
  CHECK(result.order.empty());
  CHECK(std::isnan(result.rows[0].received));
}

TEST_CASE("[tokens] many tokens and layers agree with plain loops") {
  const KvCache cache = test::gaussian_cache({{2, 200, 4}, {3, 200, 6}}, 2);  // more than one slice
  TokensOptions options;
  options.legacy.percent = 20;
  const TokensResult result = tokens(cache.view(), options);
  for (const int64_t t : {0, 63, 64, 130, 199}) {
    double norm = 0, whole = 0, k_below = 0, v_below = 0;
    for (const LayerKv& layer : cache.layers) {
      double all = 0;
      for (int64_t h = 0; h < layer.kv_heads(); ++h) {
        double square = 0;
        const auto rows = test::rows_of(layer.key, h);
        const auto values = test::rows_of(layer.value, h);
        const auto share = 0.5 / static_cast<double>(layer.kv_heads() * layer.head_dim());
        for (const double x : rows[t]) square += x * x;
        for (const double x : rows[t]) k_below += std::fabs(x) < result.thresholds.k ? share : 0;
        for (const double x : values[t]) v_below += std::fabs(x) < result.thresholds.v ? share : 0;
        norm += std::sqrt(square) / static_cast<double>(layer.kv_heads()) / 2;
        all += square;
      }
      whole += std::sqrt(all) / 2;
    }
    check_close(result.rows[t].k_norm, norm, Tol{.rel = 1e-12});
    check_close(result.rows[t].legacy_k_norm, whole, Tol{.rel = 1e-12});
    CHECK(result.rows[t].layers == 2);
    check_close(result.rows[t].legacy_k_sparsity, k_below, Tol{.abs = 1e-14});
    check_close(result.rows[t].legacy_v_sparsity, v_below, Tol{.abs = 1e-14});
  }
}

TEST_CASE("[tokens] attention decides the order") {
  const KvCache cache = test::gaussian_cache({{1, 4, 2}, {1, 4, 2}}, 3);
  TokenAttention attention;
  attention.received = {{0.5, 0.1, 0.3, kNone}, {0.1, 0.2, kNone, kNone}};
  attention.value_weighted = {{1, 2, 3, kNone}, {3, 2, kNone, kNone}};
  attention.ranking = {2, 0, 1};
  const TokensResult result = tokens(cache.view(), {}, &attention);
  CHECK(result.order == attention.ranking);
  check_close(result.rows[0].received, 0.3, Tol{.abs = 1e-15});
  check_close(result.rows[2].received, 0.3, Tol{.abs = 1e-15});
  check_close(result.rows[0].value_weighted, 2, Tol{.abs = 1e-15});
  CHECK(std::isnan(result.rows[3].received));
  CHECK(result.layers[1].received[1] == 0.2);
}

TEST_CASE("[tokens] attention that does not fit the cache is refused") {
  const KvCache cache = test::gaussian_cache({{1, 4, 2}}, 4);
  TokenAttention layers_differ, keys_differ;
  layers_differ.received = {{0, 0, 0, 0}, {0, 0, 0, 0}};
  keys_differ.received = {{0, 0, 0}};
  CHECK_THROWS_AS(tokens(cache.view(), {}, &layers_differ), DataError);
  CHECK_THROWS_AS(tokens(cache.view(), {}, &keys_differ), DataError);
}

TEST_CASE("[tokens] layers that hold fewer tokens hold the last ones") {
  const KvCache cache = test::gaussian_cache({{1, 5, 2}, {1, 2, 2}}, 5);
  const TokensResult result = tokens(cache.view(), {});
  CHECK(result.layers[1].first_token == 3);
  CHECK(result.rows[2].layers == 1);
  CHECK(result.rows[3].layers == 2);
  CHECK(result.rows[2].k_norm == result.layers[0].k_norm[2]);
  check_close(result.rows[3].k_norm, (result.layers[0].k_norm[3] + result.layers[1].k_norm[0]) / 2,
              Tol{.rel = 1e-15});
}

TEST_CASE("[tokens] a layer of zeros has no relative norm") {
  KvCache cache = test::gaussian_cache({{1, 3, 2}, {1, 3, 2}}, 6);
  cache.layers[0].key.zero_();
  const TokensResult result = tokens(cache.view(), {});
  CHECK(std::isnan(result.layers[0].k_norm_relative[0]));
  CHECK(result.rows[0].k_norm_relative == result.layers[1].k_norm_relative[0]);
}
