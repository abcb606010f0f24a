// SPDX-License-Identifier: MIT
#include "kvviz/analysis/generation_study.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace kvviz::analysis;

TEST_CASE("[generation_study] attention falls into four parts") {
  const std::vector<double> weights{0.5, 0.125, 0.0625, 0.0625, 0.25};
  const AttentionShares shares = attention_shares(weights, 3);
  CHECK(shares.first == 0.5);
  CHECK(shares.prompt == 0.1875);
  CHECK(shares.generated == 0.0625);
  CHECK(shares.self == 0.25);
  const AttentionShares even = uniform_shares(8, 5, 0);
  CHECK(even.first == 0.125);
  CHECK(even.prompt == 0.5);
  CHECK(even.generated == 0.25);
  const AttentionShares window = uniform_shares(8, 5, 4);
  CHECK(window.first == 0);
  CHECK(window.prompt == 0.25);
  CHECK(window.generated == 0.5);
  CHECK(window.self == 0.25);
  const AttentionShares narrow = uniform_shares(8, 5, 1);
  CHECK(narrow.prompt == 0);
  CHECK(narrow.generated == 0);
  CHECK(narrow.self == 1);
  CHECK(uniform_shares(8, 5, 100).prompt == 0.5);
}

TEST_CASE("[generation_study] the time of a step: the median of those that were timed") {
  GenerationStudy study;
  CHECK(std::isnan(study.step_seconds()));
  for (const double seconds : {3.0, double{NAN}, 1.0, 2.0, 10.0}) {
    study.steps.emplace_back();
    study.steps.back().seconds = seconds;
  }
  CHECK(study.step_seconds() == 2.5);
}

TEST_CASE("[generation_study] the full cache beside the evicted ones: what it holds after each token") {
  GenerationStudy study;
  study.cache.prompt = 3;
  study.cache.shape.layers = {{.kv_heads = 2, .head_dim = 4}, {.kv_heads = 1, .head_dim = 4, .window = 4}};
  study.cache.end = {.name = "late", .tokens = 5, .generated = 2};
  study.steps = {{.text = "a", .seconds = 2}, {.text = "b", .seconds = 4}};
  const EvictedText full = full_text(study);
  CHECK(full.pieces == std::vector<std::string>{"a", "b"});
  CHECK(full.equal == 2);
  CHECK(full.seconds == 3);
  REQUIRE(full.held.size() == 3);
  const int64_t keys[] = {2 * 3 + 3, 2 * 4 + 4, 2 * 5 + 4};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(full.held[i].bytes == keys[i] * 2 * 4 * 2);  // key and value, 4 channels, f16
    CHECK(full.held[i].full_bytes == full.held[i].bytes);
    CHECK(full.held[i].total() == full.held[i].bytes);
    CHECK(full.held[i].entries == doctest::Approx(static_cast<double>(keys[i]) / 3));
  }
}
