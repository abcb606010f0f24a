// SPDX-License-Identifier: MIT
#include "kvviz/analysis/attention.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;
using Vector = std::vector<double>;
using Weights = std::vector<Vector>;  // [query][key]

namespace {

/// The layer's shape, and weights made row by row from unnormalised scores of the visible keys.
struct Maker {
  int64_t queries = 0, keys = 0, window = 0;

  int64_t position(int64_t query) const { return keys - queries + query; }
  bool sees(int64_t query, int64_t key) const {
    return key <= position(query) && (window == 0 || position(query) - key < window);
  }
  Weights weights(const std::function<double(int64_t, int64_t)>& score) const {
    Weights a(queries, Vector(keys, 0.0));
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) a[i][j] = sees(i, j) ? score(position(i), j) : 0;
      const double sum = std::accumulate(a[i].begin(), a[i].end(), 0.0);
      for (double& weight : a[i]) weight /= sum;
    }
    return a;
  }
  /// What the kernel would report, from the whole matrix.
  kernels::HeadAttention measured(const Weights& a, int64_t first_keys = 4, int64_t recent = 8) const {
    kernels::HeadAttention head;
    head.key_mass.assign(keys, 0);
    head.recent_mass.assign(keys, 0);
    head.top_mass.assign(16, 1.0);
    for (int64_t i = 0; i < queries; ++i) {
      double entropy = 0, distance = 0, first = 0, small = 0, visible = 0;
      const double most = *std::ranges::max_element(a[i]);
      for (int64_t j = 0; j < keys; ++j) {
        const double w = a[i][j];
        head.key_mass[j] += w;
        if (i >= queries - recent) head.recent_mass[j] += w;
        if (w > 0) entropy -= w * std::log(w);
        distance += w * static_cast<double>(position(i) - j);
        if (j < first_keys) first += w;
        visible += sees(i, j) ? 1 : 0;
        small += sees(i, j) && w < 0.01 * most ? 1 : 0;
      }
      head.entropy.push_back(static_cast<float>(entropy));
      head.distance.push_back(static_cast<float>(distance));
      head.first_mass.push_back(static_cast<float>(first));
      head.sink_mass.push_back(static_cast<float>(a[i][0]));
      head.small_share.push_back(static_cast<float>(small / visible));
    }
    return head;
  }
  AttentionLayer layer(std::span<const kernels::HeadAttention> heads, int64_t kv_heads) const {
    AttentionLayer result;
    result.heads = heads;
    result.kv_heads = kv_heads;
    result.queries = queries;
    result.keys = keys;
    result.window = window;
    return result;
  }
};

double uniform(int64_t, int64_t) {
  return 1;
}
double self(int64_t position, int64_t key) {
  return position == key ? 1 : 0;
}
double sink(int64_t, int64_t key) {
  return key == 0 ? 1 : 0;
}
/// 9 parts in 10 on the first key, the rest on all.
double near_sink(int64_t position, int64_t key) {
  return (key == 0 ? 9.0 : 0.0) + 1 / static_cast<double>(position + 1);
}

AttentionResult single(const Maker& maker, const std::function<double(int64_t, int64_t)>& score,
                       AttentionOptions options = {}) {
  options.head_keys = true;
  const std::vector heads{maker.measured(maker.weights(score))};
  const std::vector layers{maker.layer(heads, 1)};
  return attention(layers, options);
}

constexpr Tol kFloat{.abs = 1e-6, .rel = 1e-6};  // the rows are f32

}  // namespace

TEST_CASE("[attention] uniform attention: harmonic alpha_1, full entropy, relative distance 1, global") {
  const Maker maker{.queries = 100, .keys = 100};
  const AttentionResult result = single(maker, uniform);
  const AttentionHead& head = result.heads[0];
  check_close(head.alpha_1, 0.0741233, Tol{.abs = 1e-6});  // H_64 / 64
  double harmonic = 0;
  for (int i = 1; i <= 100; ++i) harmonic += 1.0 / i;
  check_close(head.sink_mass, harmonic / 100, kFloat);
  check_close(head.entropy_normalized, 1, kFloat);
  check_close(head.distance_relative, 1, kFloat);
  check_close(head.distance, 99.0 / 4, kFloat);  // mean of i / 2
  CHECK(head.small_share == 0);
  CHECK(head.head_class == HeadClass::global);
  CHECK(result.sink_rate == 0);
  CHECK(result.sink_reason.empty());
  // Key j gets sum over i >= j of 1 / (i + 1), from 100 - j queries.
  double mass = 0;
  for (int64_t j = 99; j >= 0; --j) {
    mass += 1 / static_cast<double>(j + 1);
    check_close(head.received[j], mass / static_cast<double>(100 - j), Tol{.rel = 1e-12});
  }
}

TEST_CASE("[attention] alpha_1 at T = 1024 of uniform attention") {
  AttentionOptions options;
  options.sink_tokens = 1024;
  check_close(single({.queries = 1024, .keys = 1024}, uniform, options).alpha_1, 0.0073332, Tol{.abs = 1e-7});
}

TEST_CASE("[attention] a sink head, a head on itself") {
  const Maker maker{.queries = 80, .keys = 80};
  const AttentionResult on_first = single(maker, sink), on_self = single(maker, self);
  CHECK(on_first.heads[0].alpha_1 == 1);
  CHECK(on_first.heads[0].entropy == 0);
  CHECK(on_first.heads[0].head_class == HeadClass::sink);
  CHECK(on_first.sink_rate == 1);
  CHECK(on_first.heads[0].received[0] == 1);
  CHECK(on_first.heads[0].received[1] == 0);
  CHECK(on_first.top_keys[0].key == 0);
  check_close(on_first.heads[0].distance_relative, 2, kFloat);  // twice as far as uniform
  check_close(on_self.heads[0].alpha_1, 1.0 / 64, kFloat);
  CHECK(on_self.heads[0].distance == 0);
  CHECK(on_self.heads[0].head_class == HeadClass::local);
  CHECK(on_self.heads[0].received[79] == 1);
  check_close(on_self.heads[0].received[0], 1.0 / 80, Tol{.rel = 1e-15});
}

TEST_CASE("[attention] the sink rate counts alpha_1 strictly above eps, over layers of different width") {
  const Maker maker{.queries = 64, .keys = 64};
  const auto flat = maker.measured(maker.weights(uniform)), first = maker.measured(maker.weights(sink)),
             near = maker.measured(maker.weights(near_sink));
  const std::vector heads{flat, first, near, flat}, more{first, flat};
  const std::vector layers{maker.layer(heads, 2), maker.layer(more, 1)};
  AttentionResult result = attention(layers, {});
  CHECK(result.layers[0].sink_rate == 0.5);
  CHECK(result.layers[1].sink_rate == 0.5);
  CHECK(result.sink_rate == 0.5);
  CHECK(result.layers[0].classes == std::array<int64_t, 4>{2, 0, 2, 0});
  AttentionOptions options;
  options.sink_eps = 1;  // nothing is above 1
  CHECK(attention(layers, options).sink_rate == 0);
  options.sink_eps = result.heads[2].alpha_1;
  CHECK(attention(layers, options).sink_rate == doctest::Approx(2.0 / 6));
}

TEST_CASE("[attention] no alpha_1 for short or cut texts, with the reason") {
  const AttentionResult brief = single({.queries = 20, .keys = 20}, uniform);
  CHECK(std::isnan(brief.heads[0].alpha_1));
  CHECK(std::isnan(brief.sink_rate));
  CHECK(std::isnan(brief.alpha_1));
  CHECK(brief.sink_reason == "alpha_1 needs 64 tokens; the text has 20");
  const AttentionResult cut = single({.queries = 70, .keys = 90}, uniform);
  CHECK(std::isnan(cut.sink_rate));
  CHECK(cut.sink_reason.find("90 keys for 70 queries") != std::string::npos);
}

TEST_CASE("[attention] exposure: windows and queries that are the last of the keys") {
  // 5 keys, window 2: key j is seen by the queries j and j + 1. 3 queries at positions 2, 3, 4.
  const Maker maker{.queries = 3, .keys = 5, .window = 2};
  AttentionOptions options;
  options.least_exposure = 1;
  const AttentionResult result = single(maker, uniform, options);
  const Vector& received = result.heads[0].received;
  CHECK(std::isnan(received[0]));  // no query sees it
  CHECK(received[1] == 0.5);       // query 2
  CHECK(received[2] == 0.5);       // queries 2 and 3
  CHECK(received[3] == 0.5);
  CHECK(received[4] == 0.5);  // query 4
  check_close(result.heads[0].entropy_normalized, 1, kFloat);
  check_close(result.heads[0].distance_relative, 1, kFloat);
  CHECK(result.top_keys.size() == 4);
  CHECK(result.top_keys[0].key == 1);                       // ties by index
  CHECK(single(maker, uniform).ranking == result.ranking);  // a quarter of two queries is one
}

TEST_CASE("[attention] keys that few queries see are not ranked, however much those give them") {
  AttentionOptions options;
  options.least_exposure = 16;
  const AttentionResult result = single({.queries = 64, .keys = 64}, self, options);
  CHECK(result.received[63] == 1);  // the last query looks at itself, and so does nobody else
  REQUIRE(result.ranking.size() == 49);
  CHECK(result.ranking.front() == 48);
}

TEST_CASE(
    "[attention] in a short text the heaviest key is the one that gets most, not the only one all see") {
  const auto on_fifth = [](int64_t i, int64_t j) { return j == std::min<int64_t>(i, 5) ? 1.0 : 0.0; };
  const AttentionResult result = single({.queries = 40, .keys = 40}, on_fifth);
  CHECK(result.received[5] == 1);
  CHECK(result.top_keys[0].key == 5);
  CHECK(result.ranking.size() == 31);  // seen by ten queries or more
}

TEST_CASE("[attention] uniform attention is no sink, however short the text") {
  for (const int64_t tokens : {3, 6, 9, 25, 26, 100}) {
    CAPTURE(tokens);
    const AttentionResult result = single({.queries = tokens, .keys = tokens}, uniform);
    CHECK(result.heads[0].head_class == HeadClass::global);
    CHECK(result.heads[0].entropy_normalized <= 1);
    CHECK(single({.queries = tokens, .keys = tokens}, sink).heads[0].head_class == HeadClass::sink);
  }
}

TEST_CASE("[attention] random attention: every aggregate agrees with the whole matrices") {
  const Maker maker{.queries = 40, .keys = 40};
  std::mt19937 random(1);
  std::exponential_distribution<double> exponential;
  std::vector<Weights> matrices;
  std::vector<kernels::HeadAttention> heads;
  for (int h = 0; h < 4; ++h) {
    matrices.push_back(maker.weights([&](auto, auto) { return std::pow(exponential(random), 3); }));
    heads.push_back(maker.measured(matrices.back()));
  }
  std::vector layers{maker.layer(heads, 2)};
  layers[0].value_norms = {Vector(40), Vector(40)};
  for (int j = 0; j < 40; ++j) {
    layers[0].value_norms[0][j] = 1 + j;
    layers[0].value_norms[1][j] = 100 - j;
  }
  for (const GqaAggregate how : {GqaAggregate::mean, GqaAggregate::max, GqaAggregate::sum}) {
    AttentionOptions options;
    options.gqa = how;
    options.head_keys = true;
    options.sink_tokens = 10;
    const AttentionResult result = attention(layers, options);
    REQUIRE(result.heads.size() == 4);
    REQUIRE(result.kv_heads.size() == 2);
    for (size_t h = 0; h < 4; ++h) {
      double alpha = 0, distance = 0;
      for (int64_t i = 0; i < 10; ++i) alpha += matrices[h][i][0] / 10;
      for (int64_t i = 0; i < 40; ++i) {
        for (int64_t j = 0; j <= i; ++j) distance += matrices[h][i][j] * static_cast<double>(i - j) / 40;
      }
      check_close(result.heads[h].alpha_1, alpha, kFloat);
      check_close(result.heads[h].distance, distance, kFloat);
      CHECK(result.heads[h].kv_head == static_cast<int>(h / 2));
    }
    Vector layer_received(40, 0.0), layer_weighted(40, 0.0), recent(40, 0.0);
    for (int64_t j = 0; j < 40; ++j) {
      Vector received;
      for (size_t h = 0; h < 4; ++h) {
        double mass = 0;
        for (int64_t i = j; i < 40; ++i) mass += matrices[h][i][j];
        received.push_back(mass / static_cast<double>(40 - j));
        layer_received[j] += received.back() / 4;
        layer_weighted[j] += received.back() * layers[0].value_norms[h / 2][j] / 4;
        for (int64_t i = 32; i < 40; ++i) recent[j] += matrices[h][i][j] / 32;
      }
      const double want = how == GqaAggregate::max   ? std::max(received[2], received[3])
                          : how == GqaAggregate::sum ? received[2] + received[3]
                                                     : (received[2] + received[3]) / 2;
      check_close(result.kv_heads[1].received[j], want, Tol{.abs = 1e-14});
    }
    check_close(result.layers[0].received, layer_received, Tol{.abs = 1e-13});
    check_close(result.layers[0].value_weighted, layer_weighted, Tol{.rel = 1e-12});
    check_close(result.layers[0].recent, recent, Tol{.abs = 1e-13});
    check_close(result.received, layer_received, Tol{.abs = 1e-13});
  }
}

TEST_CASE("[attention] top keys, and the tables for the token analysis") {
  const Maker maker{.queries = 16, .keys = 16};
  const std::vector heads{
      maker.measured(maker.weights([](auto, int64_t key) { return key == 5 ? 50.0 : 1.0; }))};
  std::vector layers{maker.layer(heads, 1)};
  AttentionOptions options;
  options.top_keys = 3;
  options.least_exposure = 1;
  const AttentionResult plain = attention(layers, options);
  CHECK(plain.heads[0].received.empty());
  CHECK(plain.kv_heads[0].received.empty());
  REQUIRE(plain.top_keys.size() == 3);
  CHECK(plain.top_keys[0].key == 5);
  CHECK(plain.top_keys[0].received >= plain.top_keys[1].received);
  CHECK(std::isnan(plain.top_keys[0].value_weighted));
  CHECK(token_attention(plain).value_weighted.empty());
  CHECK(token_attention(plain).received[0] == plain.layers[0].received);

  layers[0].value_norms = {Vector(16, 2.0)};
  const AttentionResult weighted = attention(layers, options);
  CHECK(weighted.top_keys[0].value_weighted == 2 * weighted.top_keys[0].received);
  const TokenAttention tables = token_attention(weighted);
  REQUIRE(tables.value_weighted.size() == 1);
  const KvCache cache = test::gaussian_cache({{1, 16, 2}}, 1);
  CHECK(tokens(cache.view(), {}, &tables).order[0] == 5);
}

TEST_CASE("[attention] parts that do not fit are refused") {
  const Maker maker{.queries = 8, .keys = 8};
  const std::vector heads{maker.measured(maker.weights(uniform)), maker.measured(maker.weights(uniform)),
                          maker.measured(maker.weights(uniform))};
  const auto refused = [&](const std::string& what, const std::function<void(AttentionLayer&)>& spoil) {
    CAPTURE(what);
    std::vector<AttentionLayer> layers{maker.layer(heads, 3)};
    spoil(layers[0]);
    CHECK_THROWS_AS(attention(layers, {}), DataError);
  };
  refused("three heads for two", [](AttentionLayer& layer) { layer.kv_heads = 2; });
  refused("no KV heads", [](AttentionLayer& layer) { layer.kv_heads = 0; });
  refused("no heads", [](AttentionLayer& layer) { layer.heads = {}; });
  refused("more keys", [](AttentionLayer& layer) { layer.keys = 9; });
  refused("more queries than keys", [](AttentionLayer& layer) { layer.queries = 9; });
  refused("no queries", [](AttentionLayer& layer) { layer.queries = 0; });
  refused("norms of one head", [](AttentionLayer& layer) { layer.value_norms = {Vector(8)}; });
  refused("norms of too few keys", [](AttentionLayer& layer) {
    layer.value_norms = {Vector(8), Vector(8), Vector(7)};
  });
  std::vector spoiled = heads;
  spoiled[1].key_mass[3] = NAN;
  refused("NaN", [&](AttentionLayer& layer) { layer.heads = spoiled; });
  CHECK_THROWS_AS(attention({}, {}), DataError);
}

TEST_CASE("[attention] the streaming kernel's statistics fit, uniform keys give uniform attention") {
  constexpr int64_t tokens = 70, dim = 4;
  const KvCache cache = test::gaussian_cache({{2, tokens, dim}}, 2);
  const std::vector<float> queries(4 * tokens * dim, 0.0F);  // zero queries: every logit is 0
  std::vector<float> out(queries.size());
  kernels::AttentionProblem problem;
  problem.query_heads = 4;
  problem.kv_heads = 2;
  problem.head_dim = dim;
  problem.queries = problem.keys = tokens;
  problem.q = {queries.data(), tokens * dim, dim};
  problem.k = {cache.layers[0].key.data_ptr<float>(), tokens * dim, dim};
  problem.v = {cache.layers[0].value.data_ptr<float>(), tokens * dim, dim};
  problem.out = {out.data(), tokens * dim, dim};
  kernels::AttentionRequest request;
  request.statistics = true;
  const std::vector<kernels::HeadAttention> heads = kernels::attention(problem, request);
  std::vector<AttentionLayer> layers(1);
  layers[0].heads = heads;
  layers[0].kv_heads = 2;
  layers[0].queries = layers[0].keys = tokens;
  layers[0].value_norms = value_norms(cache.layers[0]);
  AttentionOptions options;
  options.head_keys = true;
  const AttentionResult result = attention(layers, options);
  check_close(result.alpha_1, 0.0741233, Tol{.abs = 1e-6});
  check_close(result.heads[3].entropy_normalized, 1, Tol{.abs = 1e-5});
  const double norm = std::sqrt(std::pow(test::rows_of(cache.layers[0].value, 1)[69][2], 2) +
                                std::pow(test::rows_of(cache.layers[0].value, 1)[69][0], 2) +
                                std::pow(test::rows_of(cache.layers[0].value, 1)[69][1], 2) +
                                std::pow(test::rows_of(cache.layers[0].value, 1)[69][3], 2));
  check_close(result.heads[3].value_weighted[69], norm / 70, Tol{.rel = 1e-5});
}
