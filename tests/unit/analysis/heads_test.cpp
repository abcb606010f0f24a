// SPDX-License-Identifier: MIT
#include "kvviz/analysis/heads.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Shape;
using kvviz::test::Tol;

namespace {

/// Plain loops over the elements of one head.
void check_elements(const HeadHalf& got, const at::Tensor& x, int64_t head, double tau) {
  std::vector<double> e;
  for (const auto& row : test::rows_of(x, head)) e.insert(e.end(), row.begin(), row.end());
  const auto n = static_cast<double>(e.size());
  double sum = 0, l1 = 0, l2 = 0, l4 = 0, top = 0, small = 0, below = 0, zeros = 0, m2 = 0, m4 = 0;
  for (const double v : e) {
    sum += v;
    l1 += std::fabs(v);
    l2 += v * v;
    l4 += v * v * v * v;
    top = std::max(top, std::fabs(v));
    zeros += v == 0 ? 1 : 0;
  }
  const double rms = std::sqrt(l2 / n), mean = sum / n;
  for (const double v : e) {
    small += std::fabs(v) < 0.1 * rms ? 1 : 0;
    below += std::fabs(v) < tau ? 1 : 0;
    m2 += (v - mean) * (v - mean) / n;
    m4 += std::pow(v - mean, 4) / n;
  }
  std::ranges::sort(e, std::greater{}, [](double v) { return std::fabs(v); });
  const auto energy = [&](double share) {
    double part = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(std::ceil(share * n - 1e-9)); ++i) part += e[i] * e[i];
    return part / l2;
  };
  const Tol tol{.abs = 1e-12, .rel = 1e-12};
  check_close(got.mean, mean, tol);
  check_close(got.std, std::sqrt(m2), tol);
  check_close(got.rms, rms, tol);
  check_close(got.mean_abs, l1 / n, tol);
  CHECK(got.abs_max == top);
  check_close(got.hoyer, (std::sqrt(n) - l1 / std::sqrt(l2)) / (std::sqrt(n) - 1), tol);
  check_close(got.participation_ratio, l2 * l2 / (n * l4), tol);
  check_close(got.excess_kurtosis, m4 / (m2 * m2) - 3, Tol{.abs = 1e-10});
  check_close(got.top_energy, std::array{energy(0.01), energy(0.05), energy(0.10)}, tol);
  check_close(got.small_share, small / n, tol);
  check_close(got.zero_share, zeros / n, tol);
  check_close(got.legacy.sparsity, below / n, tol);
  check_close(got.legacy.std, std::sqrt(m2 * n / (n - 1)), tol);
}

}  // namespace

TEST_CASE("[heads] every number of every head agrees with plain loops") {
  KvCache cache = test::gaussian_cache({{3, 40, 8}, {1, 40, 16}}, 1);
  cache.layers[0].key.data_ptr<float>()[5] = 0;
  const HeadsResult result = heads(cache.view(), {});
  REQUIRE(result.rows.size() == 4);
  for (const HeadRow& row : result.rows) {
    const LayerKv& layer = cache.layers[row.layer];
    check_elements(row.key, layer.key, row.head, result.thresholds.k);
    check_elements(row.value, layer.value, row.head, result.thresholds.v);
  }
  CHECK(result.rows[2].head == 2);
  CHECK(result.rows[3].layer == 1);
  CHECK(result.rows[0].key.zero_share == 1.0 / 320);
}

TEST_CASE("[heads] a planted structure is found: low rank, sparse, constant") {
  const Shape shape{3, 64, 8};
  KvCache cache = test::gaussian_cache({shape}, 2);
  cache.layers[0].key = test::tensor_of(shape, [](int64_t h, int64_t t, int64_t d) {
    const auto u = static_cast<double>(t % 2 == 0 ? 1 : -1), w = static_cast<double>(t / 2 % 2 == 0 ? 1 : -1);
    if (h == 0) return d == 3 ? 2 * u : 0.0;           // rank 1
    if (h == 1) return d == 0 ? u : d == 1 ? w : 0.0;  // rank 2, equal energies, orthogonal over the tokens
    return 5.0;                                        // constant: no spectrum after centring
  });
  const HeadsResult result = heads(cache.view(), {});
  CHECK(result.rows[0].key.effective_rank == 1);
  CHECK(result.rows[0].key.stable_rank == 1);
  CHECK(result.rows[0].key.components == std::array<int64_t, 3>{1, 1, 1});
  CHECK(result.rows[0].key.participation_ratio == doctest::Approx(1.0 / 8));
  CHECK(result.rows[0].key.zero_share == doctest::Approx(7.0 / 8));
  CHECK(result.rows[1].key.effective_rank == doctest::Approx(2));
  CHECK(result.rows[1].key.stable_rank == doctest::Approx(2));
  CHECK(result.rows[1].key.components == std::array<int64_t, 3>{2, 2, 2});
  CHECK(std::isnan(result.rows[2].key.effective_rank));
  CHECK(std::isnan(result.rows[2].cka));
  CHECK(result.rows[2].key.hoyer == doctest::Approx(0));
  HeadsOptions raw;
  raw.center = false;
  CHECK(heads(cache.view(), raw).rows[2].key.effective_rank == doctest::Approx(1));
}

TEST_CASE("[heads] CKA: values that are the keys give 1, noise gives its chance level") {
  KvCache cache = test::gaussian_cache({{2, 256, 16}}, 3);
  cache.layers[0].value.data_ptr<float>();
  std::copy_n(cache.layers[0].key.data_ptr<float>(), 256 * 16, cache.layers[0].value.data_ptr<float>());
  const HeadsResult result = heads(cache.view(), {});
  check_close(result.rows[0].cka, 1, Tol{.abs = 1e-12});
  check_close(result.rows[0].cka_excess, 1, Tol{.abs = 1e-12});
  CHECK(result.rows[1].cka > 0.03);
  CHECK(std::fabs(result.rows[1].cka_excess) < 0.02);
  CHECK(result.rows[1].cka_chance ==
        doctest::Approx(16.0 / 255).epsilon(0.1));  // D / (S - 1) for white noise
}

TEST_CASE("[heads] head permutation permutes the rows, rotation of the channels keeps the ranks") {
  const KvCache cache = test::gaussian_cache({{2, 30, 4}}, 4);
  KvCache swapped = cache;
  for (auto* tensor : {&swapped.layers[0].key, &swapped.layers[0].value}) {
    const at::Tensor old = *tensor;
    *tensor = test::tensor_of({2, 30, 4}, [&](int64_t h, int64_t t, int64_t d) {
      return static_cast<double>(old.data_ptr<float>()[((1 - h) * 30 + t) * 4 + d]);
    });
  }
  const HeadsResult a = heads(cache.view(), {}), b = heads(swapped.view(), {});
  for (const size_t h : {0U, 1U}) {
    CHECK(a.rows[h].key.hoyer == b.rows[1 - h].key.hoyer);
    CHECK(a.rows[h].value.effective_rank == b.rows[1 - h].value.effective_rank);
    CHECK(a.rows[h].cka == b.rows[1 - h].cka);
  }
  KvCache turned = cache;  // by 30 degrees in the plane of channels 0 and 1
  const double c = std::cos(0.5), s = std::sin(0.5);
  turned.layers[0].key = test::tensor_of({2, 30, 4}, [&](int64_t h, int64_t t, int64_t d) {
    const auto row = test::rows_of(cache.layers[0].key, h)[t];
    return d == 0 ? c * row[0] - s * row[1] : d == 1 ? s * row[0] + c * row[1] : row[d];
  });
  const HeadsResult r = heads(turned.view(), {});
  check_close(r.rows[0].key.effective_rank, a.rows[0].key.effective_rank, Tol{.rel = 1e-6});  // f32 elements
  check_close(r.rows[0].cka, a.rows[0].cka, Tol{.rel = 1e-5});
}

TEST_CASE("[heads] prunable rows: K or V above the limit, by K then V") {
  KvCache cache = test::gaussian_cache({{4, 10, 2}}, 5);
  const std::array<double, 4> k_zeros{0, 12, 16, 12}, v_zeros{14, 0, 0, 4};
  const auto planted = [](const std::array<double, 4>& zeros) {
    return test::tensor_of({4, 10, 2}, [&](int64_t h, int64_t t, int64_t d) {
      return static_cast<double>(t * 2 + d) < zeros[h] ? 0.0 : 1.0;
    });
  };
  cache.layers[0].key = planted(k_zeros);
  cache.layers[0].value = planted(v_zeros);
  HeadsOptions options;
  CHECK(heads(cache.view(), options).legacy_prunable == std::vector<int64_t>{2, 3, 1, 0});
  options.prunable = 0.6;  // strictly above
  CHECK(heads(cache.view(), options).legacy_prunable == std::vector<int64_t>{2, 0});
}

TEST_CASE("[heads] without spectra the ranks are absent, the rest is the same") {
  const KvCache cache = test::gaussian_cache({{2, 20, 4}}, 6);
  HeadsOptions options;
  options.spectrum = false;
  const HeadsResult fast = heads(cache.view(), options), full = heads(cache.view(), {});
  CHECK(std::isnan(fast.rows[0].key.effective_rank));
  CHECK(std::isnan(fast.rows[0].cka));
  CHECK(fast.rows[1].value.hoyer == full.rows[1].value.hoyer);
  CHECK(full.rows[1].value.effective_rank > 1);
}

TEST_CASE("[heads] NaN and infinity are refused, with their place") {
  KvCache cache = test::gaussian_cache({{2, 20, 4}, {2, 20, 4}}, 7);
  cache.layers[1].value.data_ptr<float>()[100] = NAN;
  CHECK_THROWS_WITH_AS(heads(cache.view(), {}), doctest::Contains("a value of layer 1, KV head 1"),
                       DataError);
  cache.layers[1].value.data_ptr<float>()[100] = 0;
  cache.layers[0].key.data_ptr<float>()[3] = INFINITY;
  CHECK_THROWS_WITH_AS(heads(cache.view(), {}), doctest::Contains("a key of layer 0, KV head 0"), DataError);
  CHECK_THROWS_AS(heads(KvView{}, {}), DataError);
}
