// SPDX-License-Identifier: MIT
#include "kvviz/eval/sample.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"

using namespace kvviz;

namespace {

/// Logits of these probabilities.
std::vector<float> logits_of(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3));
  return logits;
}

std::vector<int32_t> ids(const std::vector<TokenChance>& all) {
  std::vector<int32_t> ids;
  for (const TokenChance& one : all) ids.push_back(one.token);
  return ids;
}

using Ids = std::vector<int32_t>;
const std::vector<float> logits = logits_of({0.1, 0.4, 0.05, 0.25, 0.2});
constexpr float infinite = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("[sample] top-k and top-p keep exactly their sets") {
  CHECK(ids(candidates(logits, {.temperature = 1})) == Ids{1, 3, 4, 0, 2});
  CHECK(ids(candidates(logits, {.temperature = 1, .top_k = 2})) == Ids{1, 3});
  CHECK(ids(candidates(logits, {.temperature = 1, .top_k = 99})).size() == 5);
  CHECK(ids(candidates(logits, {.temperature = 1, .top_p = 0.39})) == Ids{1});
  CHECK(ids(candidates(logits, {.temperature = 1, .top_p = 0.41})) == Ids{1, 3});
  CHECK(ids(candidates(logits, {.temperature = 1, .top_p = 0.66})) == Ids{1, 3, 4});
  // Of the two best, 0.4 / 0.65 = 0.615 is the first one's share: top-p acts on what top-k left.
  CHECK(ids(candidates(logits, {.temperature = 1, .top_k = 2, .top_p = 0.61})) == Ids{1});
  CHECK(ids(candidates(logits, {.temperature = 1, .top_k = 2, .top_p = 0.62})) == Ids{1, 3});
  CHECK(ids(candidates(logits_of({0.25, 0.25, 0.5}), {.temperature = 1, .top_k = 2})) == Ids{2, 0});
}

TEST_CASE("[sample] temperature raises probabilities to its inverse") {
  const auto sharp = candidates(logits, {.temperature = 0.5, .top_k = 3});
  const double sum = 0.16 + 0.0625 + 0.04;
  REQUIRE(sharp.size() == 3);
  CHECK(sharp[0].probability == doctest::Approx(0.16 / sum));
  CHECK(sharp[1].probability == doctest::Approx(0.0625 / sum));
  CHECK(sharp[2].probability == doctest::Approx(0.04 / sum));
  CHECK(probability(logits, 3) == doctest::Approx(0.25));
}

TEST_CASE("[sample] drawn frequencies are the probabilities") {
  Sampler sampler({.temperature = 1, .top_k = 4, .seed = 7});
  constexpr int draws = 40000;
  std::vector<int> count(5, 0);
  for (int i = 0; i < draws; ++i) ++count[static_cast<size_t>(sampler.draw(logits))];
  CHECK(count[2] == 0);
  const double expected[] = {0.1, 0.4, 0, 0.25, 0.2};
  for (const size_t i : {size_t{0}, size_t{1}, size_t{3}, size_t{4}}) {
    const double p = expected[i] / 0.95;
    // Five standard deviations of a binomial share.
    CHECK(std::abs(count[i] / double{draws} - p) < 5 * std::sqrt(p * (1 - p) / draws));
  }
}

TEST_CASE("[sample] the same seed draws the same tokens, here as everywhere") {
  const SamplingOptions options{.temperature = 1, .seed = 1};
  Sampler a(options), b(options), other({.temperature = 1, .seed = 2});
  Ids from_a, from_b, from_other;
  for (int i = 0; i < 30; ++i) {
    from_a.push_back(a.draw(logits));
    from_b.push_back(b.draw(logits));
    from_other.push_back(other.draw(logits));
  }
  CHECK(from_a == from_b);
  CHECK(from_a != from_other);
  // The standard fixes the 10000th number of the generator with its default seed.
  std::mt19937_64 standard;
  standard.discard(9999);
  CHECK(standard() == 9981545732273789042ULL);
}

TEST_CASE("[sample] temperature 0 is greedy: the first of equals") {
  Sampler greedy({});
  CHECK(greedy.draw(logits) == 1);
  CHECK(greedy.draw(logits_of({0.2, 0.4, 0.4})) == 1);
  CHECK(Sampler({.temperature = 1e-3, .seed = 3}).draw(logits) == 1);
}

TEST_CASE("[sample] masked logits are never drawn, broken ones are refused") {
  const std::vector<float> masked{-infinite, 0, -infinite};
  CHECK(Sampler({.temperature = 5}).draw(masked) == 1);
  for (const std::vector<float>& bad :
       {std::vector<float>{0, NAN}, {NAN, 0}, {0, infinite}, {-infinite, -infinite}}) {
    CHECK_THROWS_AS(candidates(bad, {}), DataError);
    CHECK_THROWS_AS(candidates(bad, {.temperature = 1}), DataError);
    CHECK_THROWS_AS(probability(bad, 0), DataError);
  }
  for (const SamplingOptions& bad : {SamplingOptions{.temperature = -1},
                                     {.temperature = NAN},
                                     {.temperature = 1, .top_k = -1},
                                     {.temperature = 1, .top_p = 0},
                                     {.temperature = 1, .top_p = 1.5},
                                     {.top_k = 5},
                                     {.top_p = 0.5}})
    CHECK_THROWS_AS(Sampler{bad}, UsageError);
}
