// SPDX-License-Identifier: MIT
// What must hold for every cache, whatever is in it.
#include <ATen/ATen.h>
#include <cmath>
#include <cstring>

#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Shape;
using kvviz::test::Tol;

namespace {

struct All {
  explicit All(const KvView& cache)
      : heads(analysis::heads(cache, {})),
        layers(analysis::layers(cache, {}, heads)),
        tokens(analysis::tokens(cache, {})),
        channels(analysis::channels(cache, {})),
        distribution(analysis::distribution(cache, {})) {}
  HeadsResult heads;
  LayersResult layers;
  TokensResult tokens;
  ChannelsResult channels;
  DistributionResult distribution;
};

void append(std::vector<double>& out, const HeadHalf& half) {
  out.insert(out.end(), {half.hoyer, half.participation_ratio, half.excess_kurtosis, half.top_energy[0],
                         half.top_energy[1], half.top_energy[2], half.small_share, half.zero_share,
                         half.effective_rank, half.stable_rank, static_cast<double>(half.components[0]),
                         static_cast<double>(half.components[2])});
}
void append(std::vector<double>& out, const LayerHalf& half) {
  out.insert(out.end(), {half.hoyer, half.participation_ratio, half.excess_kurtosis, half.small_share,
                         half.zero_share, half.effective_rank, half.stable_rank});
}
void append(std::vector<double>& out, const ChannelHalf& half) {
  for (const auto* values : {&half.rms_ratio, &half.excess_kurtosis, &half.variation}) {
    out.insert(out.end(), values->begin(), values->end());
  }
}

/// Every measure that is documented as scale-free.
std::vector<double> scale_free(const All& all) {
  std::vector<double> out;
  for (const HeadRow& row : all.heads.rows) {
    append(out, row.key);
    append(out, row.value);
    out.insert(out.end(), {row.cka, row.cka_chance, row.cka_excess});
  }
  for (const LayerRow& row : all.layers.rows) {
    append(out, row.key);
    append(out, row.value);
  }
  for (const HeadChannels& row : all.channels.rows) {
    append(out, row.key);
    append(out, row.value);
    out.insert(out.end(), row.key_pair_ratio.begin(), row.key_pair_ratio.end());
  }
  for (const LayerTokens& row : all.tokens.layers) {
    out.insert(out.end(), row.k_norm_relative.begin(), row.k_norm_relative.end());
    out.insert(out.end(), row.v_norm_relative.begin(), row.v_norm_relative.end());
  }
  return out;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace

TEST_CASE("[properties] a layer times 10 changes no scale-free measure of any layer") {
  KvCache cache = test::gaussian_cache({{2, 70, 8}, {2, 70, 8}, {4, 70, 4}}, 1);
  cache.pairing = RopePairing::half;
  cache.rotary_dim = 4;
  const std::vector<double> before = scale_free(All(cache.view()));
  // 8 is exact in floating point; 10 rounds every element to 24 bits, so that an element beside a limit may
  // change sides: one of the 280 of a head is 0.0036.
  check_close(scale_free(All(test::scaled(cache, 1, 8).view())), before, Tol{.abs = 1e-12, .rel = 1e-12});
  check_close(scale_free(All(test::scaled(cache, 1, 10).view())), before, Tol{.abs = 0.004, .rel = 1e-5});
}

TEST_CASE("[properties] the legacy sparsity does depend on the scale of another layer") {
  const KvCache cache = test::gaussian_cache({{2, 70, 8}, {2, 70, 8}}, 2);
  const double before = layers(cache.view(), {}).rows[0].key.legacy.sparsity;
  CHECK(layers(test::scaled(cache, 1, 10).view(), {}).rows[0].key.legacy.sparsity > 5 * before);
}

TEST_CASE("[properties] an all-zero layer, and an all-zero cache, are fully sparse") {
  const KvCache cache = test::gaussian_cache({{2, 10, 4}, {2, 10, 4}}, 3);
  for (const KvCache& zeros : {test::scaled(cache, 1, 0), test::scaled(test::scaled(cache, 0, 0), 1, 0)}) {
    const All all(zeros.view());
    for (const HeadHalf& half : {all.heads.rows[2].key, all.heads.rows[3].value}) {
      CHECK(half.hoyer == 1);
      CHECK(half.small_share == 1);
      CHECK(half.zero_share == 1);
      CHECK(half.participation_ratio == 0);
      CHECK(half.top_energy == std::array<double, 3>{1, 1, 1});
      CHECK(std::isnan(half.effective_rank));
    }
    CHECK(all.layers.rows[1].key.hoyer == 1);
    CHECK(all.layers.rows[1].key.small_share == 1);
    CHECK(all.layers.rows[1].value.zero_share == 1);
    CHECK(all.distribution.key[1].zeros == 80);
  }
  // The original's strict |x| < tau: 1 beside another layer, 0 where tau itself is 0.
  CHECK(layers(test::scaled(cache, 1, 0).view(), {}).rows[1].key.legacy.sparsity == 1);
}

TEST_CASE("[properties] layers of different shapes, 126 layers, the smallest caches") {
  const std::vector<std::vector<Shape>> caches{{{4, 12, 8}, {2, 12, 4}, {1, 12, 16}},
                                               std::vector<Shape>(126, {2, 3, 4}),
                                               {{1, 1, 1}},
                                               {{1, 1, 64}},
                                               {{1, 100, 1}},
                                               {{3, 1, 2}, {1, 1, 5}}};
  for (const auto& shapes : caches) {
    const KvCache cache = test::gaussian_cache(shapes, 4);
    const All all(cache.view());
    REQUIRE(all.layers.rows.size() == shapes.size());
    size_t first = 0;
    for (size_t l = 0; l < shapes.size(); ++l) {
      CHECK(all.layers.rows[l].kv_heads == shapes[l].heads);
      CHECK(all.channels.rows[first].key.rms.size() == static_cast<size_t>(shapes[l].dim));
      CHECK(all.channels.legacy.k_importance[l].size() == static_cast<size_t>(shapes[l].dim));
      CHECK(all.tokens.layers[l].k_norm.size() == static_cast<size_t>(shapes[l].tokens));
      CHECK(all.heads.rows[first].layer == static_cast<int>(l));
      CHECK(std::isfinite(all.heads.rows[first].key.hoyer));
      CHECK(std::isfinite(all.layers.rows[l].key.rms));
      first += static_cast<size_t>(shapes[l].heads);
    }
    CHECK(all.heads.rows.size() == first);
    CHECK(all.tokens.rows.size() == static_cast<size_t>(shapes[0].tokens));
    for (const TokenRow& row : all.tokens.rows) CHECK(std::isfinite(row.legacy_importance));
  }
}

TEST_CASE("[properties] a dimension is pooled over the heads that have it") {
  const KvCache cache = test::gaussian_cache({{2, 5, 4}, {1, 5, 2}}, 5);
  ChannelsOptions options;
  options.legacy.percent = 20;
  const ChannelsResult result = channels(cache.view(), options);
  const std::vector<LegacyDimension>& dimensions = result.legacy.dimensions;
  REQUIRE(dimensions.size() == 4);
  const auto sparsity = [&](size_t row, size_t d) { return result.rows[row].key.legacy[d].sparsity; };
  check_close(dimensions[1].k_sparsity, (sparsity(0, 1) + sparsity(1, 1) + sparsity(2, 1)) / 3,
              Tol{.rel = 1e-14});
  check_close(dimensions[3].k_sparsity, (sparsity(0, 3) + sparsity(1, 3)) / 2, Tol{.rel = 1e-14});
  check_close(result.legacy.k_importance[0][3], 1 - dimensions[3].k_sparsity, Tol{.rel = 1e-14});
}

TEST_CASE("[properties] half precision gives the numbers of the widened cache, exactly") {
  const KvCache cache = test::gaussian_cache({{2, 40, 8}, {1, 40, 4}}, 6);
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const KvCache low = test::converted(cache, type);
    const KvCache wide = test::converted(low, at::kFloat);
    const All a(low.view()), b(wide.view());
    CHECK(same_bits(scale_free(a), scale_free(b)));
    CHECK(a.layers.bytes * 2 == b.layers.bytes);
    CHECK(a.heads.thresholds.k_max == b.heads.thresholds.k_max);
  }
}

TEST_CASE("[properties] a key that is a strided view reads like its copy") {
  const KvCache cache = test::gaussian_cache({{4, 20, 6}}, 7);
  KvCache strided = cache;
  strided.layers[0].key = cache.layers[0].key.transpose(0, 1).contiguous().transpose(0, 1);
  REQUIRE_FALSE(strided.layers[0].key.is_contiguous());
  CHECK(same_bits(scale_free(All(strided.view())), scale_free(All(cache.view()))));
}

TEST_CASE("[properties] numbers do not depend on the number of threads, nor on the run") {
  const KvCache cache = test::gaussian_cache({{3, 150, 16}, {1, 150, 32}}, 8);
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const std::vector<double> one = scale_free(All(cache.view()));
  kernels::set_thread_count(4);
  const std::vector<double> four = scale_free(All(cache.view())), again = scale_free(All(cache.view()));
  kernels::set_thread_count(before);
  CHECK(one.size() > 100);
  CHECK(same_bits(one, four));
  CHECK(same_bits(four, again));
}

TEST_CASE("[properties] Gaussian noise: the values that theory gives, no outliers, CKA at chance") {
  const KvCache cache = test::gaussian_cache({{2, 400, 32}}, 9);
  const All all(cache.view());
  for (const HeadRow& row : all.heads.rows) {
    // 12,800 elements: standard errors 0.006 of the mean of |x|/rms, 0.04 of the kurtosis; four of each.
    check_close(row.key.hoyer, 1 - std::sqrt(2 / 3.14159265), Tol{.abs = 0.025});
    check_close(row.key.participation_ratio, 1.0 / 3, Tol{.abs = 0.03});
    check_close(row.key.excess_kurtosis, 0, Tol{.abs = 0.18});
    check_close(row.key.small_share, std::erf(0.1 / std::sqrt(2.0)), Tol{.abs = 0.01});
    CHECK(row.key.effective_rank > 30);
    CHECK(std::fabs(row.cka_excess) < 0.03);
  }
  CHECK(all.channels.outliers.empty());
}
