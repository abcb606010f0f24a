// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sinks.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

using Matrix = std::vector<std::vector<double>>;

/// Statistics of an explicit matrix, by their definitions.
kernels::HeadAttention head_of(const Matrix& a, int64_t recent, int64_t watched) {
  const size_t n = a.size();
  kernels::HeadAttention head;
  head.key_mass.assign(n, 0);
  head.recent_mass.assign(n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      head.key_mass[j] += a[i][j];
      if (i + static_cast<size_t>(recent) >= n) head.recent_mass[j] += a[i][j];
    }
    head.sink_mass.push_back(static_cast<float>(a[i][0]));
    head.self_mass.push_back(static_cast<float>(a[i][i]));
    if (watched >= 0) head.watched_mass.push_back(static_cast<float>(a[i][static_cast<size_t>(watched)]));
  }
  return head;
}

LayerSinks sinks_of(const std::vector<Matrix>& matrices, const SinkOptions& options, int64_t kv_heads = 1,
                    int64_t window = 0) {
  std::vector<kernels::HeadAttention> heads;
  for (const Matrix& a : matrices)
    heads.push_back(head_of(a, options.recent, options.k > 1 ? options.k - 1 : -1));
  const auto n = static_cast<int64_t>(matrices.front().size());
  const std::vector<TokenKind> kinds(static_cast<size_t>(n), TokenKind::other);
  return sink_layer(0, {.heads = heads, .kv_heads = kv_heads, .queries = n, .keys = n, .window = window}, {},
                    kinds, options);
}

Matrix uniform(size_t n) {
  Matrix a(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j) a[i][j] = 1 / static_cast<double>(i + 1);
  return a;
}

Matrix random_causal(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::exponential_distribution<double> weight(1);
  Matrix a(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) a[i][j] = weight(random);
    const double sum = std::accumulate(a[i].begin(), a[i].end(), 0.0);
    for (double& x : a[i]) x /= sum;
  }
  return a;
}

Matrix square(std::vector<std::vector<double>> rows) {
  for (auto& row : rows) row.resize(rows.size(), 0.0);
  return rows;
}

/// Lower triangle of the given weights, rows divided by their sums.
template <class Weight>
Matrix from_weights(size_t n, Weight weight) {
  Matrix a(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) a[i][j] = weight(i, j);
    const double sum = std::accumulate(a[i].begin(), a[i].end(), 0.0);
    for (double& x : a[i]) x /= sum;
  }
  return a;
}

double score(const LayerSinks& layer, SinkMetric metric, size_t head = 0) {
  return layer.heads[head].score[static_cast<size_t>(metric)];
}

}  // namespace

TEST_CASE("[sinks] uniform attention: alpha_1 is H_T / T, excess 0, ratio 1") {
  CHECK(uniform_alpha(64) == doctest::Approx(0.0741233).epsilon(1e-6));
  CHECK(uniform_alpha(1024) == doctest::Approx(0.0073332).epsilon(1e-5));
  const LayerSinks layer = sinks_of({uniform(100)}, {.tokens = 64});
  CHECK(score(layer, SinkMetric::alpha) == doctest::Approx(0.0741233).epsilon(1e-6));
  CHECK(score(layer, SinkMetric::share0) == doctest::Approx(uniform_alpha(100)));
  CHECK(std::abs(score(layer, SinkMetric::excess)) < 1e-7);
  CHECK(score(layer, SinkMetric::ratio) == doctest::Approx(1));
  CHECK(layer.heads[0].sink_keys.empty());
}

TEST_CASE("[sinks] sum over k of (T - k + 1) alpha_k is T") {
  const Matrix a = random_causal(40, 3);
  double sum = 0;
  for (int64_t k = 1; k <= 32; ++k)
    sum += static_cast<double>(32 - k + 1) * score(sinks_of({a}, {.tokens = 32, .k = k}), SinkMetric::alpha);
  CHECK(sum == doctest::Approx(32).epsilon(1e-6));
  CHECK(score(sinks_of({a}, {.tokens = 32, .k = 32}), SinkMetric::alpha) ==
        doctest::Approx(a[31][31]).epsilon(1e-6));
}

TEST_CASE("[sinks] every score of a small matrix by hand") {
  const Matrix a = square({{1}, {.8, .2}, {.6, .3, .1}, {.4, .1, .3, .2}});
  const LayerSinks layer = sinks_of({a}, {.tokens = 3, .recent = 2});
  CHECK(score(layer, SinkMetric::alpha) == doctest::Approx(0.8));
  CHECK(score(layer, SinkMetric::share0) == doctest::Approx(0.7));
  CHECK(score(layer, SinkMetric::share0_later) == doctest::Approx(0.6));
  CHECK(score(layer, SinkMetric::recent) == doctest::Approx(0.5));
  const double uniform0 = (1 + 0.5 + 1 / 3.0 + 0.25) / 4;
  CHECK(score(layer, SinkMetric::excess) == doctest::Approx((0.7 - uniform0) / (1 - uniform0)));
  CHECK(score(layer, SinkMetric::ratio) == doctest::Approx(1.8 / (0.5 + 1 / 3.0 + 0.25)));
}

TEST_CASE("[sinks] the legacy share of uniform attention, H_n / n, and its range") {
  const std::pair<size_t, double> published[] = {{2, .7500},  {3, .6111},   {5, .4567},   {10, .2929},
                                                 {12, .2586}, {16, .2113},  {24, .1573},  {27, .1441},
                                                 {64, .0741}, {128, .0424}, {512, .0133}, {1024, .0073}};
  for (const auto& [n, share] : published) {
    CAPTURE(n);
    CHECK(std::abs(score(sinks_of({uniform(n)}, {.tokens = 2}), SinkMetric::share0) - share) < 5.1e-5);
  }
  // Query 0 alone gives 1 / n; attention that rests on key 0 gives 1.
  const Matrix itself = from_weights(50, [](size_t i, size_t j) { return i == j ? 1 : 0; });
  const Matrix first = from_weights(50, [](size_t, size_t j) { return j == 0 ? 1 : 0; });
  const LayerSinks layer = sinks_of({itself, first}, {.tokens = 20});
  const double wanted[2][4] = {{1 / 50.0, 0, 1 / 20.0, 0}, {1, 1, 1, 1}};
  for (size_t head = 0; head < 2; ++head) {
    CHECK(score(layer, SinkMetric::share0, head) == doctest::Approx(wanted[head][0]));
    CHECK(score(layer, SinkMetric::share0_later, head) == doctest::Approx(wanted[head][1]));
    CHECK(score(layer, SinkMetric::alpha, head) == doctest::Approx(wanted[head][2]));
    CHECK(score(layer, SinkMetric::recent, head) == doctest::Approx(head == 0 ? 1 / 50.0 : 1));
    CHECK((score(layer, SinkMetric::excess, head) > 0) == (head == 1));
  }
  CHECK(score(layer, SinkMetric::excess, 1) == doctest::Approx(1));
}

TEST_CASE("[sinks] a text shorter than T has no alpha") {
  CHECK(std::isnan(score(sinks_of({uniform(10)}, {.tokens = 11}), SinkMetric::alpha)));
  CHECK(std::isnan(score(sinks_of({uniform(1)}, {.tokens = 2}), SinkMetric::ratio)));
}

TEST_CASE("[sinks] column means count as sinkvis counted") {
  const auto counts = [](const Matrix& a, double sink, double heavy) {
    const LayerSinks layer = sinks_of({a}, {.tokens = 2, .column_sink = sink, .column_heavy = heavy});
    return std::pair(layer.heads[0].column_sinks, layer.heads[0].column_heavy);
  };
  const Matrix first = square({{1}, {.8, .2}, {.6, .3, .1}});
  CHECK(counts(first, 0.5, 0.4).first == 1);
  CHECK(counts(first, 0.1, 0.05).first == 2);
  CHECK(counts(square({{.1}, {.05, .05}, {.03, .03, .04}}), 0.5, 0.4).first == 0);
  using Counts = std::pair<int64_t, int64_t>;
  CHECK(counts(square({{1}, {.7, .3}, {.5, .1, .4}, {.4, .1, .3, .2}}), 0.5, 0.1) == Counts(1, 2));
  CHECK(counts(square({{1}, {.7, .3}, {.5, .1, .4}, {.4, .1, .3, .2}}), 0.1, 0.05).first == 3);
  CHECK(counts(square({{1}, {.3, .7}, {.2, .6, .2}}), 0.45, 0.3) == Counts(1, 1));
  // Strictly above: a column mean of exactly the threshold is none. (.5 + .25) / 2 has no rounding.
  CHECK(counts(square({{.5}, {.25, .75}}), 0.375, 0.374) == Counts(0, 2));
  CHECK(counts(from_weights(100, [](size_t, size_t j) { return j < 4 ? 100 : 0.01; }), 0.1, 0.05) ==
        Counts(4, 0));
  CHECK(counts(from_weights(100, [](size_t, size_t j) { return j == 42 ? 50
                                                               : j < 4 ? 10
                                                                       : 0.01; }), 0.1,
               0.05) == Counts(5, 0));
  // 24 rows of weight 1 + ((7i + 3j) mod 11); then eight times that on keys 9 and 17.
  const auto f24 = [](size_t i, size_t j) { return static_cast<double>(1 + (7 * i + 3 * j) % 11); };
  const auto f24b = [&](size_t i, size_t j) { return f24(i, j) * (j == 9 || j == 17 ? 8 : 1); };
  CHECK(counts(from_weights(24, f24), 0.1, 0.05) == Counts(2, 5));
  CHECK(counts(from_weights(24, f24), 0.15, 0.149).first == 1);
  CHECK(counts(from_weights(24, f24b), 0.1, 0.05) == Counts(3, 5));
  CHECK(counts(from_weights(24, f24b), 0.15, 0.149).first == 1);
  // Uniform attention over n tokens: "sinks" and "heavy hitters" that are none.
  const std::pair<size_t, Counts> table[] = {{1, {1, 0}},   {2, {2, 0}},   {5, {3, -1}},  {9, {4, -1}},
                                             {10, {4, -1}}, {16, {3, 4}},  {20, {3, -1}}, {32, {1, 6}},
                                             {64, {0, 3}},  {100, {0, 1}}, {200, {0, 0}}};
  for (const auto& [n, expected] : table) {
    CAPTURE(n);
    const auto got = counts(uniform(n), 0.1, 0.05);
    CHECK(got.first == expected.first);
    if (expected.second >= 0) CHECK(got.second == expected.second);  // -1: not published
  }
}

TEST_CASE("[sinks] a key in the middle is found, whatever its exposure, and the last keys are not") {
  Matrix a = uniform(200);
  for (size_t i = 101; i < 200; ++i) {
    for (double& x : a[i]) x *= 0.5;
    a[i][100] += 0.5;
  }
  const LayerSinks layer = sinks_of({a, uniform(200)}, {});
  CHECK(layer.heads[0].sink_keys == std::vector<int64_t>{100});
  CHECK(layer.heads[1].sink_keys.empty());
  CHECK(layer.sink_keys[static_cast<size_t>(TokenKind::other)] == 1);
}

TEST_CASE("[sinks] with a sliding window uniform attention has ratio 1 and excess 0 too") {
  Matrix a(60, std::vector<double>(60, 0));
  for (size_t i = 0; i < 60; ++i) {
    const size_t begin = i >= 8 ? i - 7 : 0;
    for (size_t j = begin; j <= i; ++j) a[i][j] = 1 / static_cast<double>(i - begin + 1);
  }
  const LayerSinks layer = sinks_of({a}, {.tokens = 16}, 1, 8);
  CHECK(score(layer, SinkMetric::ratio) == doctest::Approx(1));
  CHECK(std::abs(score(layer, SinkMetric::excess)) < 1e-7);
  CHECK(layer.heads[0].sink_keys.empty());
}

TEST_CASE("[sinks] sink keys respect a window that is shorter than 64 tokens") {
  // Uniform over the last 24 tokens, but key 100 gets 0.6 of every query that sees it; key 150 is seen by all
  // of them too and gets 0.3, below 10 x 1/24; key 190 is seen by the last 9 queries only.
  constexpr size_t n = 200, window = 24;
  Matrix a = from_weights(n, [](size_t i, size_t j) { return i - j < window ? 1.0 : 0.0; });
  for (const auto& [key, share] : {std::pair<size_t, double>{100, 0.6}, {150, 0.3}, {190, 0.9}}) {
    for (size_t i = key + 1; i < std::min(key + window, n); ++i) {
      for (double& x : a[i]) x *= 1 - share;
      a[i][key] += share;
    }
  }
  const LayerSinks layer = sinks_of({a}, {.tokens = 16}, 1, window);
  CHECK(layer.heads[0].sink_keys == std::vector<int64_t>{100});
}

TEST_CASE("[sinks] both limits of a sink key count, at the mean over the later queries") {
  // Key 30 of 300 gets `share` of every later query; uniform attention gives it a mean of about 0.0087.
  const auto found = [](double share, const SinkOptions& options) {
    Matrix a = uniform(300);
    for (size_t i = 31; i < 300; ++i) {
      for (double& x : a[i]) x *= 1 - share;
      a[i][30] += share;
    }
    const auto keys = sinks_of({a}, options).heads[0].sink_keys;
    return std::ranges::find(keys, 30) != keys.end();
  };
  double expected = 0;
  for (int i = 31; i < 300; ++i) expected += 1.0 / (i + 1) / 269;
  const double mean = 0.2 + 0.8 * expected;
  CHECK(found(0.2, {.ratio = 10, .mass = mean - 1e-6}));
  CHECK_FALSE(found(0.2, {.ratio = 10, .mass = mean + 1e-6}));
  CHECK(found(0.2, {.ratio = mean / expected - 1e-3, .mass = 0.05}));
  CHECK_FALSE(found(0.2, {.ratio = mean / expected + 1e-3, .mass = 0.05}));
}

TEST_CASE("[sinks] kinds, masses and norms of a layer by hand") {
  const Matrix a = square({{1}, {.8, .2}, {.6, .3, .1}, {.4, .1, .3, .2}});
  const Matrix b = square({{1}, {.5, .5}, {.2, .2, .6}, {.1, .2, .3, .4}});
  const SinkOptions options{.tokens = 3};
  const std::vector<kernels::HeadAttention> heads{head_of(a, options.recent, -1),
                                                  head_of(b, options.recent, -1)};
  const std::vector<TokenKind> kinds{TokenKind::bos, TokenKind::other, TokenKind::newline, TokenKind::other};
  const LayerNorms norms{.key = {{9, 1, 2, 6}, {5, 3, 3, 3}}, .value = {{0.5, 4, 2, 8}, {1.5, 1, 1, 1}}};
  const LayerSinks layer =
      sink_layer(5, {.heads = heads, .kv_heads = 2, .queries = 4, .keys = 4}, norms, kinds, options);
  CHECK(layer.layer == 5);
  CHECK(layer.heads[1].layer == 5);
  CHECK(layer.heads[1].kv_head == 1);
  CHECK(layer.kind_tokens == std::array<int64_t, 4>{1, 1, 0, 2});
  // BOS: (2.8 + 1.8) / 8, newline: (.4 + .9) / 8, others: the rest of 8 rows.
  CHECK(layer.mass[0] == doctest::Approx(4.6 / 8));
  CHECK(layer.mass[1] == doctest::Approx(1.3 / 8));
  CHECK(layer.mass[2] == 0);
  CHECK(layer.mass[3] == doctest::Approx(2.1 / 8));
  CHECK(layer.k_norm_first == doctest::Approx(7));   // 9 and 5
  CHECK(layer.k_norm_rest == doctest::Approx(2.5));  // medians 2 and 3
  CHECK(layer.v_norm_first == doctest::Approx(1));   // 0.5 and 1.5
  CHECK(layer.v_norm_rest == doctest::Approx(2.5));  // medians 4 and 1
}

TEST_CASE(
    "[sinks] the norm of the other tokens is their median, of an even number the mean of the middle two") {
  const auto rest = [](const std::vector<double>& norms) {
    const size_t n = norms.size();
    const std::vector<kernels::HeadAttention> heads{head_of(uniform(n), 4, -1)};
    const std::vector<TokenKind> kinds(n, TokenKind::other);
    const auto tokens = static_cast<int64_t>(n);
    return sink_layer(0, {.heads = heads, .kv_heads = 1, .queries = tokens, .keys = tokens},
                      {.key = {norms}, .value = {norms}}, kinds, {.tokens = 2});
  };
  CHECK(rest({50, 7, 1, 4, 3}).k_norm_rest == doctest::Approx(3.5));
  CHECK(rest({50, 7, 1, 4}).v_norm_rest == doctest::Approx(4));
  CHECK(rest({50}).k_norm_first == 50);
  CHECK(std::isnan(rest({50}).k_norm_rest));
}

TEST_CASE("[sinks] statistics that do not fit the text, and NaN, are refused") {
  const auto refused = [](int64_t queries, int64_t keys, size_t kinds, double spoil) {
    std::vector<kernels::HeadAttention> heads{head_of(uniform(8), 4, -1)};
    heads[0].key_mass[3] += spoil;
    const std::vector<TokenKind> all(kinds, TokenKind::other);
    return test::message_of<DataError>([&] {
      sink_layer(2, {.heads = heads, .kv_heads = 1, .queries = queries, .keys = keys}, {}, all,
                 {.tokens = 4});
    });
  };
  CHECK(refused(8, 8, 8, 0).empty());
  CHECK(test::holds(refused(7, 8, 8, 0), "layer 2: got 7 queries"));
  CHECK(test::holds(refused(8, 8, 7, 0), "kinds of 7 tokens"));
  CHECK(test::holds(refused(9, 9, 9, 0), "another number of tokens"));
  CHECK(test::holds(refused(8, 8, 8, std::nan("")), "NaN"));
}

TEST_CASE("[sinks] wrong options and names are refused") {
  const auto refused = [](SinkOptions o) { return test::message_of<UsageError>([&] { validate(o); }); };
  CHECK(test::holds(refused({.tokens = 1}), "--tokens-per-sequence 1"));
  CHECK(test::holds(refused({.tokens = 8, .k = 9}), "--sink-token 9"));
  CHECK(test::holds(refused({.k = 0}), "--sink-token 0"));
  CHECK(test::holds(refused({.recent = 0}), "--recent 0"));
  CHECK(test::holds(refused({.ratio = 0}), "--key-ratio"));
  CHECK(test::holds(refused({.mass = 1}), "--key-mass"));
  CHECK(refused({}).empty());
  CHECK(test::holds(test::message_of<UsageError>([] { parse_sink_metric("alfa"); }), "alpha, share0"));
  CHECK(parse_sink_metric("ratio") == SinkMetric::ratio);
}
