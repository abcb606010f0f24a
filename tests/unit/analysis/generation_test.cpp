// SPDX-License-Identifier: MIT
#include "kvviz/analysis/generation.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

constexpr double tolerance = 1e-5;  // f32 elements, fp64 sums

GenerationResult stages_of(const KvCache& cache, int64_t prompt) {
  return generation({.cache = cache.view(), .prompt = prompt}, {}, {});
}

KvCache prefix(const KvCache& cache, int64_t tokens) {
  KvCache cut = cache;
  for (LayerKv& layer : cut.layers) {
    layer.key = layer.key.narrow(1, 0, tokens).clone();
    layer.value = layer.value.narrow(1, 0, tokens).clone();
  }
  return cut;
}

double square_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

std::vector<double> mean(const std::vector<std::vector<double>>& rows, size_t first, size_t end) {
  std::vector<double> m(rows.front().size(), 0.0);
  for (size_t t = first; t < end; ++t)
    for (size_t d = 0; d < m.size(); ++d) m[d] += rows[t][d] / static_cast<double>(end - first);
  return m;
}

}  // namespace

TEST_CASE("[generation] stages are P, P + e, P + m and P + N") {
  const auto at = [](int64_t n) {
    std::vector<int64_t> lengths;
    for (const StagePoint& point : stage_points(n, {})) lengths.push_back(point.generated);
    return lengths;
  };
  CHECK(at(20) == std::vector<int64_t>{0, 4, 10, 20});
  CHECK(at(30) == std::vector<int64_t>{0, 6, 15, 30});
  CHECK(at(3) == std::vector<int64_t>{0, 1, 3});
  CHECK(at(1) == std::vector<int64_t>{0, 1});
  CHECK(at(0) == std::vector<int64_t>{0});
}

TEST_CASE("[generation] stages at any fractions, named after them") {
  const auto points = stage_points(100, {{0.001, 0.29, 0.3333, 0.58}});
  REQUIRE(points.size() == 5);
  const int64_t lengths[] = {0, 1, 29, 33, 58};  // 0.29 x 100 and 0.58 x 100 lie below 29 and 58
  const char* const names[] = {"prefill", "0.001", "0.29", "0.3333", "0.58"};
  for (size_t i = 0; i < 5; ++i) {
    CHECK(points[i].generated == lengths[i]);
    CHECK(points[i].name == names[i]);
  }
  CHECK(stage_points(10, {{1}}).back().generated == 10);
  CHECK(stage_points(10, {{1}}).back().name == "1");
  CHECK(stage_points(10, {}).back().name == "late");
  for (const StageOptions& wrong : {StageOptions{{}}, StageOptions{{0, 1}}, StageOptions{{0.5, 1.01}},
                                    StageOptions{{0.5, 0.2}}, StageOptions{{0.5, 0.5}}, StageOptions{{NAN}}})
    CHECK_THROWS_AS(stage_points(10, wrong), UsageError);
}

TEST_CASE("[generation] the end is all tokens, whatever the stages are") {
  const KvCache cache = test::gaussian_cache({{2, 40, 8}, {2, 40, 8}}, 3);
  const GenerationResult all = stages_of(cache, 20);
  const GenerationResult half = generation({.cache = cache.view(), .prompt = 20}, {{0.5}}, {});
  REQUIRE(half.stages.size() == 2);
  CHECK(half.stages.back().name == "0.5");
  CHECK(half.stages.back().generated == 10);
  CHECK(half.end.tokens == 40);
  CHECK(half.end.key.generated.gini == all.stages.back().key.generated.gini);
  CHECK(all.end.key.generated.gini == all.stages.back().key.generated.gini);
  CHECK(half.layers[1].key.drift == all.layers[1].key.drift);
  CHECK(half.tokens.size() == 20);
}

TEST_CASE("[generation] measures of sparsity against their formulas, a head at a time") {
  KvCache cache = test::gaussian_cache({{2, 12, 4}}, 21);
  cache.layers[0].key[0].narrow(0, 9, 2).zero_();
  cache.layers[0].key[0].narrow(0, 11, 1).mul_(5);
  double hoyer = 0, gini = 0, ratio = 0;
  for (const int64_t head : {0, 1}) {
    std::vector<double> x;
    const auto rows = test::rows_of(cache.layers[0].key, head);
    for (size_t t = 8; t < 12; ++t)
      for (const double value : rows[t]) x.push_back(std::fabs(value));
    double sum = 0, squares = 0, fourth = 0, differences = 0;
    for (const double a : x) {
      sum += a;
      squares += a * a;
      fourth += a * a * a * a;
      for (const double b : x) differences += std::fabs(a - b);
    }
    hoyer += (4 - sum / std::sqrt(squares)) / (4 - 1) / 2;
    gini += differences / (2 * 16 * sum) / 2;
    ratio += squares * squares / (16 * fourth) / 2;
  }
  const PartStats part = stages_of(cache, 8).end.key.generated;
  CHECK(part.hoyer == doctest::Approx(hoyer).epsilon(tolerance));
  CHECK(part.gini == doctest::Approx(gini).epsilon(tolerance));
  CHECK(part.participation_ratio == doctest::Approx(ratio).epsilon(tolerance));
}

TEST_CASE("[generation] bytes are those of a cache in f16, whose windows hold no more than they may") {
  KvCache cache = test::gaussian_cache({{2, 40, 8}, {2, 40, 8}}, 3);
  CHECK(stages_of(cache, 20).end.bytes == 2 * 2 * 2 * 40 * 8 * 2);
  cache.layers[1].window = 10;
  const GenerationResult windowed = stages_of(cache, 20);
  CHECK(windowed.end.bytes == (40 + 10) * 2 * 2 * 8 * 2);
  CHECK(windowed.stages.front().bytes == (20 + 10) * 2 * 2 * 8 * 2);
}

TEST_CASE("[generation] a stage is a true snapshot: the cache of that length measures the same") {
  const KvCache cache = test::gaussian_cache({{2, 40, 8}, {2, 40, 8}}, 3);
  const GenerationResult all = stages_of(cache, 20);
  REQUIRE(all.stages.size() == 4);
  for (const GenerationStage& stage : all.stages) {
    CAPTURE(stage.name);
    const KvCache cut = prefix(cache, stage.tokens);
    CHECK(stage.tokens == 20 + stage.generated);
    CHECK(stage.bytes == cut.bytes() / 2);  // f32
    const GenerationStage alone =
        generation({.cache = cut.view(), .prompt = 20}, {}, {.threshold = 0.05}).stages.back();
    CHECK(stage.key.all.rms == doctest::Approx(alone.key.all.rms));
    CHECK(stage.value.all.hoyer == doctest::Approx(alone.value.all.hoyer));
    CHECK(stage.value.all.gini == doctest::Approx(alone.value.all.gini));
    CHECK(stage.key.prompt.rms == doctest::Approx(all.stages.front().key.all.rms));
    CHECK(std::isnan(stage.key.generated.rms) == (stage.generated == 0));
    if (stage.generated > 0) CHECK(stage.key.drift.drift == doctest::Approx(alone.key.drift.drift));
  }
}

TEST_CASE("[generation] drift and distance against a reference in double") {
  const KvCache cache = test::gaussian_cache({{2, 30, 6}}, 5);
  const GenerationResult result = stages_of(cache, 12);
  double drift = 0, distance = 0, last = 0, norm = 0;
  for (const int64_t head : {0, 1}) {
    const auto rows = test::rows_of(cache.layers[0].key, head);
    const auto centre = mean(rows, 1, 12), moved = mean(rows, 12, 30);
    const std::vector<double> zero(6, 0.0);
    double spread = 0, far = 0, typical = 0;
    for (size_t t = 1; t < 12; ++t) spread += square_distance(rows[t], centre) / 11;
    for (size_t t = 1; t < 12; ++t) typical += std::sqrt(square_distance(rows[t], zero)) / 11;
    for (size_t t = 12; t < 30; ++t) far += square_distance(rows[t], centre) / 18;
    drift += std::sqrt(square_distance(moved, centre) / spread) / 2;
    distance += std::sqrt(far / spread) / 2;
    last += std::sqrt(square_distance(rows[29], centre) / spread) / 2;
    norm += std::sqrt(square_distance(rows[29], zero)) / typical / 2;
  }
  const GenerationStage& late = result.stages.back();
  CHECK(late.key.drift.drift == doctest::Approx(drift).epsilon(tolerance));
  CHECK(late.key.drift.distance == doctest::Approx(distance).epsilon(tolerance));
  CHECK(result.layers[0].key.drift == doctest::Approx(drift).epsilon(tolerance));
  CHECK(result.tokens.back().k_distance == doctest::Approx(last).epsilon(tolerance));
  CHECK(result.tokens.back().k_norm == doctest::Approx(norm).epsilon(tolerance));
  CHECK(late.chance == doctest::Approx(std::sqrt(1.0 / 18 + 1.0 / 11)));
}

TEST_CASE("[generation] noise stays at the chance level, a shifted text does not") {
  KvCache cache = test::gaussian_cache({{4, 600, 16}}, 11);
  const GenerationStage same = stages_of(cache, 300).stages.back();
  CHECK(same.key.drift.drift == doctest::Approx(same.chance).epsilon(0.25));
  CHECK(same.key.drift.distance == doctest::Approx(1).epsilon(0.05));
  cache.layers[0].key.narrow(1, 300, 300).add_(10.0);
  const GenerationStage moved = stages_of(cache, 300).stages.back();
  // Five standard deviations in every one of the channels: s^2 = 16 x 4.
  CHECK(moved.key.drift.drift == doctest::Approx(5).epsilon(0.05));
  CHECK(moved.value.drift.drift == doctest::Approx(same.value.drift.drift));
}

TEST_CASE(
    "[generation] scale changes no drift and no measure of sparsity; keys before RoPE replace the cache's") {
  const KvCache cache = test::gaussian_cache({{2, 30, 6}, {2, 30, 6}}, 8);
  const KvCache other = test::gaussian_cache({{2, 30, 6}, {2, 30, 6}}, 9);
  const GenerationStage plain = stages_of(cache, 10).stages.back();
  const GenerationStage scaled = stages_of(test::scaled(cache, 1, 10), 10).stages.back();
  CHECK(scaled.key.drift.drift == doctest::Approx(plain.key.drift.drift).epsilon(tolerance));
  CHECK(scaled.key.generated.hoyer == doctest::Approx(plain.key.generated.hoyer).epsilon(tolerance));
  CHECK(scaled.key.generated.gini == doctest::Approx(plain.key.generated.gini).epsilon(tolerance));
  CHECK(scaled.key.generated.participation_ratio ==
        doctest::Approx(plain.key.generated.participation_ratio).epsilon(tolerance));
  CHECK(scaled.key.all.legacy_sparsity > plain.key.all.legacy_sparsity);
  const at::Tensor keys[] = {other.layers[0].key, other.layers[1].key};
  const GenerationStage mixed =
      generation({.cache = cache.view(), .keys_before_rope = keys, .prompt = 10}, {}, {}).stages.back();
  CHECK(mixed.key.drift.drift == stages_of(other, 10).stages.back().key.drift.drift);
  CHECK(mixed.key.all.hoyer == plain.key.all.hoyer);
}

TEST_CASE("[generation] too short a prompt has no drift; one that is none is refused") {
  const KvCache cache = test::gaussian_cache({{1, 6, 4}}, 2);
  CHECK(std::isnan(stages_of(cache, 2).stages.back().key.drift.drift));
  CHECK(std::isfinite(stages_of(cache, 3).stages.back().key.drift.drift));
  CHECK(stages_of(cache, 6).stages.size() == 1);
  CHECK_THROWS_AS(stages_of(cache, 0), DataError);
  CHECK_THROWS_AS(stages_of(cache, 7), DataError);
  const KvCache uneven = test::gaussian_cache({{1, 6, 4}, {1, 5, 4}}, 2);
  CHECK_THROWS_AS(stages_of(uneven, 3), DataError);
}
