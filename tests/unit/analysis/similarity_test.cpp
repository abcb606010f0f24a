// SPDX-License-Identifier: MIT
#include "kvviz/analysis/similarity.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "support/errors.hpp"
#include "unit/analysis/caches.hpp"

#include <doctest/doctest.h>  // after libtorch, whose logging has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using test::gaussian_cache;
using test::Shape;

namespace {

constexpr Half kHalves[] = {Half::key, Half::value};

SimilarityResult similar(const KvCache& cache, const SimilarityOptions& options = {}) {
  return similarity(cache.view(), {}, options);
}

const SimilaritySaving& saving(const std::vector<SimilaritySaving>& rows, const std::string& mechanism,
                               Half half) {
  return *std::ranges::find_if(
      rows, [&](const auto& row) { return row.mechanism == mechanism && row.half == half; });
}

/// Items of groups: each once, none outside.
void check_disjoint(const Grouping& grouping) {
  std::set<int64_t> seen;
  for (const auto& group : grouping.groups) {
    CHECK(group.size() >= 2);
    for (const int64_t item : group) {
      CHECK(item >= 0);
      CHECK(item < grouping.items);
      CHECK(seen.insert(item).second);
    }
  }
}

/// Rows [tokens][all heads of the layer], in double.
std::vector<std::vector<double>> layer_rows(const at::Tensor& x) {
  std::vector<std::vector<double>> rows(x.size(1));
  for (int64_t h = 0; h < x.size(0); ++h) {
    const auto head = test::rows_of(x, h);
    for (size_t t = 0; t < head.size(); ++t) rows[t].insert(rows[t].end(), head[t].begin(), head[t].end());
  }
  return rows;
}

void centre(std::vector<std::vector<double>>& rows) {
  for (size_t c = 0; c < rows[0].size(); ++c) {
    double mean = 0;
    for (const auto& row : rows) mean += row[c] / static_cast<double>(rows.size());
    for (auto& row : rows) row[c] -= mean;
  }
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// (CKA - mean) / (1 - mean) from kernels over the tokens, the mean from their traces.
double naive_excess(const at::Tensor& a, const at::Tensor& b) {
  auto x = layer_rows(a), y = layer_rows(b);
  centre(x), centre(y);
  double xy = 0, xx = 0, yy = 0, tx = 0, ty = 0;
  for (size_t s = 0; s < x.size(); ++s) {
    tx += dot(x[s], x[s]), ty += dot(y[s], y[s]);
    for (size_t t = 0; t < x.size(); ++t) {
      const double g = dot(x[s], x[t]), k = dot(y[s], y[t]);
      xy += g * k, xx += g * g, yy += k * k;
    }
  }
  const double chance = tx * ty / static_cast<double>(x.size() - 1) / std::sqrt(xx * yy);
  return (xy / std::sqrt(xx * yy) - chance) / (1 - chance);
}

}  // namespace

TEST_CASE("[similarity] CKA above chance of layers and heads, against its definition in double") {
  KvCache cache = gaussian_cache({{3, 50, 8}, {2, 50, 6}, {3, 50, 8}}, 4);
  cache.layers[2].key = 0.4 * cache.layers[2].key + cache.layers[0].key.flip(2);
  const SimilarityResult r = similar(cache);
  for (const LayerPair& pair : r.key.pairs) {
    const double want = naive_excess(cache.layers[pair.first].key, cache.layers[pair.second].key);
    CHECK(pair.alignment.cka.excess == doctest::Approx(want).epsilon(1e-4));
    CHECK(r.key.layer_excess[pair.second * 3 + pair.first] == pair.alignment.cka.excess);
  }
  REQUIRE(r.heads.size() == 8);
  for (size_t i = 0; i < 8; ++i)
    for (size_t j = 0; j < 8; ++j) {
      const auto head = [&](size_t h) {
        return cache.layers[r.heads[h].layer].value.narrow(0, r.heads[h].head, 1).contiguous();
      };
      if (i != j)
        CHECK(r.value.head_excess[i * 8 + j] ==
              doctest::Approx(naive_excess(head(i), head(j))).epsilon(1e-3));
    }
}

TEST_CASE("[similarity] equal layers are at 1 within 1e-5 and a group, at any number of tokens") {
  for (const int64_t tokens : {3, 4, 7, 25, 60, 300, 1500}) {
    CAPTURE(tokens);
    KvCache cache = gaussian_cache({{2, tokens, 16}, {2, tokens, 16}, {2, tokens, 16}, {2, tokens, 16}}, 1);
    cache.layers[2] = cache.layers[0];
    cache.layers[2].value = cache.layers[0].value * 10;  // scale does not count
    const SimilarityResult r = similar(cache);
    for (const Half half : kHalves) {
      const SimilaritySide& side = r.side(half);
      CHECK(std::abs(side.layer_excess[0 * 4 + 2] - 1) < 1e-5);
      CHECK(side.layers.groups == std::vector<std::vector<int64_t>>{{0, 2}});
      CHECK(std::abs(side.head_excess[0 * 8 + 4] - 1) < 1e-5);
      CHECK(side.heads.groups == std::vector<std::vector<int64_t>>{{0, 4}, {1, 5}});
      CHECK(side.layers.f16_bytes == doctest::Approx(64.0 * static_cast<double>(tokens)));
      CHECK(side.heads.f16_bytes == side.layers.f16_bytes);
    }
  }
}

TEST_CASE("[similarity] independent noise has no group of any kind and nothing above chance") {
  for (const Shape shape : {Shape{8, 512, 32}, Shape{4, 40, 64}, Shape{2, 12, 8}, Shape{2, 5, 40},
                            Shape{4, 3, 16}, Shape{1, 2, 4}, Shape{3, 200, 3}})
    for (unsigned seed = 0; seed < 5; ++seed) {
      CAPTURE(shape.tokens);
      CAPTURE(seed);
      const KvCache cache = gaussian_cache(std::vector<Shape>(6, shape), seed);
      const SimilarityResult r = similar(cache);
      for (const SimilaritySaving& row : savings(r)) {
        CAPTURE(row.mechanism);
        CHECK(row.groups == 0);
        CHECK(row.f16_bytes == 0);
        CHECK(row.removed == 0);
      }
      if (shape.tokens < 200) continue;
      for (const Half half : kHalves) {
        for (const LayerPair& pair : r.side(half).pairs) {
          CHECK(std::abs(pair.alignment.cka.excess) < 0.05);
          CHECK(std::abs(pair.subspace.excess) < 0.2);
        }
        for (const LayerPrediction& p : r.side(half).predictions) CHECK(p.prediction.r2 < 0.02);
        for (const HeadChannelsRow& row : r.side(half).channels) CHECK(std::abs(row.excess) < 0.12);
      }
    }
}

TEST_CASE("[similarity] a token far from all others makes no group of heads that share nothing else") {
  KvCache cache = gaussian_cache(std::vector<Shape>(4, Shape{4, 100, 16}), 3);
  for (LayerKv& layer : cache.layers) layer.key.select(1, 0).fill_(80);
  const SimilarityResult r = similar(cache);
  CHECK(r.key.layer_excess[1] > 0.9);
  CHECK(r.key.layers.groups.empty());
  CHECK(r.key.heads.groups.empty());
  const SimilarityResult without = similar(cache, {.skip_first = 1});
  CHECK(without.compared == 99);
  CHECK(std::abs(without.key.layer_excess[1]) < 0.1);
}

TEST_CASE("[similarity] groups are disjoint, and every pair within one is alike") {
  KvCache cache = gaussian_cache(std::vector<Shape>(8, Shape{4, 150, 12}), 2);
  for (size_t l = 1; l < 8; ++l) {  // a chain: neighbours are alike, ends are not
    const double angle = 0.35;
    cache.layers[l].key =
        (std::cos(angle) * cache.layers[l - 1].key + std::sin(angle) * cache.layers[l].key).contiguous();
  }
  at::Tensor& value = cache.layers[0].value;
  value.select(2, 3).copy_(-2 * value.select(2, 1));  // a signed copy
  value.select(2, 5).copy_(value.select(2, 1) + 7);
  const SimilarityResult r = similar(cache);
  for (const Half half : kHalves) {
    const SimilaritySide& side = r.side(half);
    for (const Grouping* grouping : {&side.layers, &side.heads, &side.channel_groups, &side.tokens})
      check_disjoint(*grouping);
    for (const auto& group : side.heads.groups)
      for (const int64_t i : group)
        for (const int64_t j : group) CHECK((i == j || side.head_excess[i * 32 + j] >= 0.75));
  }
  CHECK(r.key.heads.groups.size() >= 2);
  REQUIRE(r.value.channel_groups.groups.size() == 4);
  CHECK(r.value.channel_groups.groups[0] == std::vector<int64_t>{1, 3, 5});
  CHECK(r.value.channels[0].groups == 1);
  CHECK(r.value.channels[0].grouped == 3);
  const auto rows = savings(r);
  const SimilaritySaving& channels = saving(rows, "channels", Half::value);
  CHECK(channels.items == 8 * 4 * 12);
  CHECK(channels.removed == 8);
  CHECK(channels.f16_bytes == 8 * 150 * 2);
  CHECK(channels.share == doctest::Approx(8.0 * 150 * 2 / (2 * 8 * 4 * 150 * 12 * 2)));
}

TEST_CASE("[similarity] thresholds decide, and B = 2 of the text gives what B = 1 gives") {
  KvCache cache = gaussian_cache(std::vector<Shape>(3, Shape{2, 120, 8}), 5);
  cache.layers[1].key = cache.layers[0].key + 0.5 * cache.layers[1].key;
  const double excess = similar(cache).key.layer_excess[1];
  REQUIRE(excess > 0.2);
  REQUIRE(excess < 0.99);
  CHECK(similar(cache, {.layer_threshold = excess - 0.01}).key.layers.groups.size() == 1);
  CHECK(similar(cache, {.layer_threshold = excess + 0.01}).key.layers.groups.empty());
  KvCache twice = cache;
  for (LayerKv& layer : twice.layers) {
    layer.key = at::cat({layer.key, layer.key}, 1);
    layer.value = at::cat({layer.value, layer.value}, 1);
  }
  const SimilarityResult one = similar(cache), two = similar(twice);
  CHECK(two.key.pairs[0].alignment.cka.value ==
        doctest::Approx(one.key.pairs[0].alignment.cka.value).epsilon(1e-5));
  CHECK(two.key.channels[0].mean_abs_r == doctest::Approx(one.key.channels[0].mean_abs_r).epsilon(1e-9));
  CHECK(two.key.token_channels[0] == one.key.token_channels[0]);
}

TEST_CASE(
    "[similarity] a layer that is a linear image of the one before is predicted, one that is not is not") {
  KvCache cache = gaussian_cache(std::vector<Shape>(3, Shape{2, 256, 6}), 8);
  const at::Tensor turn = at::empty({12, 12});
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::generate_n(turn.data_ptr<float>(), 144, [&] { return normal(random); });
  const at::Tensor flat = cache.layers[0].key.permute({1, 0, 2}).reshape({256, 12});
  cache.layers[1].key = at::matmul(flat, turn).add(3).reshape({256, 2, 6}).permute({1, 0, 2}).contiguous();
  const SimilarityResult r = similar(cache, {.energy = 1});
  REQUIRE(r.key.predictions.size() == 2);
  CHECK(r.key.predictions[0].prediction.components == 12);
  CHECK(r.key.predictions[0].fitted + r.key.predictions[0].judged == 256);
  CHECK(r.key.predictions[0].fitted == 128);
  CHECK(r.key.predictions[0].prediction.r2 > 1 - 1e-6);
  CHECK(r.key.predictions[1].prediction.r2 < 0);
  CHECK(r.key.pairs[0].subspace.mean_cos2 == doctest::Approx(1).epsilon(1e-6));
  CHECK(r.key.pairs[0].subspace.largest_angle < 0.1);
  CHECK(r.prediction_reason.empty());
}

TEST_CASE("[similarity] cosine of tokens: all layers and heads side by side, less the mean over the text") {
  const KvCache cache = gaussian_cache({{2, 30, 4}, {3, 30, 5}}, 9);
  const SimilarityResult r = similar(cache, {.positions = 7});
  CHECK(r.positions == std::vector<int64_t>{0, 5, 10, 15, 19, 24, 29});
  auto first = layer_rows(cache.layers[0].value), second = layer_rows(cache.layers[1].value);
  centre(first), centre(second);
  for (size_t i = 0; i < 7; ++i)
    for (size_t j = 0; j < 7; ++j) {
      const auto product = [&](int64_t a, int64_t b) {
        return dot(first[a], first[b]) + dot(second[a], second[b]);
      };
      const int64_t a = r.positions[i], b = r.positions[j];
      CHECK(r.value.token_cosine[i * 7 + j] ==
            doctest::Approx(product(a, b) / std::sqrt(product(a, a) * product(b, b))).epsilon(1e-5));
    }
  double mean = 0;
  for (const LayerKv& layer : cache.layers)
    for (int64_t h = 0; h < layer.kv_heads(); ++h) mean += std::abs(test::rows_of(layer.key, h)[5][2]) / 5;
  REQUIRE(r.key.dim == 5);
  CHECK(r.key.token_channels[1 * 5 + 2] == doctest::Approx(mean));
  CHECK(r.key.position_bytes == 2 * (2 * 4 + 3 * 5));
}

TEST_CASE("[similarity] repeated tokens are a group") {
  KvCache cache = gaussian_cache(std::vector<Shape>(2, Shape{4, 60, 16}), 3);
  for (LayerKv& layer : cache.layers)
    for (const int64_t token : {20, 41}) layer.value.select(1, token).copy_(layer.value.select(1, 3));
  const SimilarityResult r = similar(cache);
  CHECK(r.value.tokens.groups == std::vector<std::vector<int64_t>>{{3, 20, 41}});
  CHECK(r.key.tokens.groups.empty());
  CHECK(saving(savings(r), "tokens", Half::value).f16_bytes == 2.0 * 2 * (2 * 4 * 16));
}

TEST_CASE("[similarity] the head whose channels are kept: the named one, or the most correlated") {
  KvCache cache = gaussian_cache({{2, 80, 6}, {3, 80, 4}}, 6);
  at::Tensor& key = cache.layers[1].key;
  key.select(0, 2).select(1, 0).copy_(key.select(0, 2).select(1, 3));
  SimilarityResult r = similar(cache);
  CHECK(r.picked.layer == 1);
  CHECK(r.picked.head == 2);
  REQUIRE(r.key.picked.size() == 16);
  CHECK(r.key.picked[3] == doctest::Approx(1));
  r = similar(cache, {.layer = 0, .head = 1});
  CHECK(r.picked.layer == 0);
  CHECK(r.picked.head == 1);
  CHECK(r.key.picked.size() == 36);
  CHECK(similar(cache, {.layer = 0}).picked.layer == 0);
  const auto message = [&](const SimilarityOptions& options) {
    return test::message_of<UsageError>([&] { similar(cache, options); });
  };
  CHECK(test::holds(message({.layer = 2}), "layers 0 to 1"));
  CHECK(test::holds(message({.layer = 0, .head = 2}), "layer 0 has KV heads 0 to 1"));
  CHECK(test::holds(message({.head = 3}), "KV heads 0 to 2"));
  CHECK(similar(cache, {.head = 2}).picked.layer == 1);
  CHECK(test::holds(test::message_of<DataError>([&] { similar(cache, {.skip_first = 80}); }),
                    "leaves none of 80"));
  CHECK(test::holds(message({.head_threshold = 1.5}), "head-threshold"));
  CHECK(test::holds(message({.max_tokens = 1}), "max-tokens"));
}

TEST_CASE("[similarity] the smallest caches, and layers of any shape") {
  for (const std::vector<Shape>& shapes : {std::vector<Shape>{{1, 1, 1}},
                                           {{1, 1, 4}, {1, 1, 4}},
                                           {{1, 2, 1}, {1, 2, 1}},
                                           {{1, 3, 2}, {4, 3, 1}},
                                           std::vector<Shape>(126, Shape{1, 9, 2}),
                                           {{2, 40, 8}, {1, 40, 16}, {8, 40, 3}}}) {
    const SimilarityResult r = similar(gaussian_cache(shapes, 1));
    CHECK(r.key.layer_excess.size() == shapes.size() * shapes.size());
    CHECK(r.key.head_excess.size() == r.heads.size() * r.heads.size());
    CHECK(savings(r).size() == 8);
    CHECK(r.layer_reason.empty() == (shapes.size() > 1));
    CHECK(r.prediction_reason.empty() == (shapes.size() > 1 && shapes[0].tokens >= 16));
    CHECK(r.cka_reason.empty() == (shapes[0].tokens > 2));
    CHECK(r.attention.empty());
  }
  // Layers that hold fewer tokens hold the last.
  KvCache cache = gaussian_cache({{2, 50, 4}, {2, 30, 4}}, 2);
  cache.layers[1].key = cache.layers[0].key.narrow(1, 20, 30).clone();
  const SimilarityResult r = similar(cache, {.positions = 2});
  CHECK(r.tokens == 30);
  CHECK(r.positions == std::vector<int64_t>{20, 49});
  CHECK(r.key.layer_excess[1] == doctest::Approx(1).epsilon(1e-5));
}

TEST_CASE("[similarity] constant keys have no numbers, NaN is refused") {
  KvCache cache = gaussian_cache(std::vector<Shape>(2, Shape{2, 40, 4}), 1);
  cache.layers[1].key.fill_(0.3);
  const SimilarityResult r = similar(cache);
  CHECK(std::isnan(r.key.layer_excess[1]));
  CHECK(std::isnan(r.key.predictions[0].prediction.r2));
  CHECK(std::isnan(r.key.pairs[0].subspace.mean_cos2));
  CHECK(std::isnan(r.key.channels[2].mean_abs_r));
  CHECK(r.key.heads.groups.empty());
  cache.layers[1].value.select(2, 1).fill_(std::nan(""));
  CHECK(test::holds(test::message_of<DataError>([&] { similar(cache); }), "layer 1: the values"));
}

namespace {

/// Attention that each query pays to the key `back` tokens before it (or the first).
kernels::HeadAttention looking_back(int64_t tokens, int64_t back, int64_t bins) {
  kernels::HeadAttention head;
  head.key_mass.assign(tokens, 0.0);
  head.self_mass.assign(tokens, back == 0 ? 1.0F : 0.0F);
  head.map.assign(bins * bins, 0.0);
  std::vector<double> queries(bins);
  for (int64_t i = 0; i < tokens; ++i) ++queries[i * bins / tokens];
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t key = std::max<int64_t>(i - back, 0), q = i * bins / tokens;
    head.key_mass[key] += 1;
    head.map[q * bins + key * bins / tokens] += 1 / queries[q];
  }
  head.self_mass[0] = 1;
  return head;
}

}  // namespace

TEST_CASE("[similarity] query heads are compared by where they look, sinks are marked") {
  const KvCache cache = gaussian_cache({{1, 96, 4}}, 1);
  const std::vector<kernels::HeadAttention> heads{looking_back(96, 1000, 8), looking_back(96, 1000, 8),
                                                  looking_back(96, 0, 8), looking_back(96, 24, 8)};
  const AttentionLayer layer{.heads = heads, .kv_heads = 1, .queries = 96, .keys = 96};
  const SimilarityResult r = similarity(cache.view(), std::vector<AttentionLayer>{layer}, {.positions = 96});
  REQUIRE(r.attention.size() == 16);
  CHECK(r.attention[0 * 4 + 1] == 1);
  // The first head and that of the diagonal share the first of 8 bins, an eighth of the mass.
  CHECK(r.attention[0 * 4 + 2] == doctest::Approx(1 - std::sqrt(7.0 / 8)));
  CHECK(r.attention[2 * 4 + 3] < r.attention[0 * 4 + 3]);
  CHECK(r.sink_share[0] == doctest::Approx(0.5));
  CHECK(r.sink_share[40] == 0);
  std::vector<kernels::HeadAttention> uneven = heads;
  uneven[1].map.pop_back();
  const AttentionLayer wrong{.heads = uneven, .kv_heads = 1, .queries = 96, .keys = 96};
  CHECK_THROWS_AS(similarity(cache.view(), std::vector<AttentionLayer>{wrong}, {}), DataError);
}

TEST_CASE("[similarity] the same numbers with any number of threads, and from any dtype that holds them") {
  const KvCache cache =
      test::converted(gaussian_cache(std::vector<Shape>(5, Shape{3, 90, 8}), 3), at::kBFloat16);
  const int threads = kernels::thread_count();
  kernels::set_thread_count(1);
  const SimilarityResult one = similar(cache);
  kernels::set_thread_count(3);
  const SimilarityResult three = similar(test::converted(cache, at::kFloat));
  kernels::set_thread_count(threads);
  CHECK(one.key.head_excess == three.key.head_excess);
  CHECK(one.value.layer_overlap == three.value.layer_overlap);
  CHECK(one.key.token_cosine == three.key.token_cosine);
  CHECK(one.value.predictions[1].prediction.r2 == three.value.predictions[1].prediction.r2);
}
