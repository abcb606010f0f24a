// SPDX-License-Identifier: MIT
#include "kvviz/analysis/cache_size.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "support/errors.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using test::holds;
using test::message_of;

namespace {

CacheShape shape(int layers, int64_t kv_heads, int64_t head_dim, int64_t window = 0) {
  CacheShape made;
  made.layers.assign(static_cast<size_t>(layers), {kv_heads, head_dim, window});
  return made;
}

int64_t per_token(const CacheShape& of, const char* type) {
  return token_bytes(of, parse_cache_type(type)).total();
}

}  // namespace

TEST_CASE("[cache_size] bytes per token of well-known models") {
  CHECK(per_token(shape(6, 12, 64), "f16") == 18432);   // distilgpt2
  CHECK(per_token(shape(12, 12, 64), "f16") == 36864);  // gpt2: 2 x 12 x 768 x 2
  CHECK(per_token(shape(12, 12, 64), "f32") == 73728);
  CHECK(per_token(shape(16, 8, 64), "bf16") == 32768);    // Llama-3.2-1B
  CHECK(per_token(shape(32, 32, 80), "f16") == 327680);   // phi-2
  CHECK(per_token(shape(32, 32, 128), "f16") == 524288);  // Llama-2-7B
  CHECK(per_token(shape(32, 8, 128), "f16") == 131072);   // Llama-3.1-8B: grouped queries
  CHECK(per_token(shape(32, 8, 128), "f8") == 65536);
}

TEST_CASE("[cache_size] scaled types: vectors in whole bytes, 4 bytes for every group begun") {
  const auto of = [](int64_t head_dim, const char* type, int64_t group) {
    return token_bytes({1, head_dim, 0}, parse_cache_type(type), group);
  };
  CHECK(of(128, "int8", 64).payload == 256);
  CHECK(of(128, "int8", 64).metadata == 16);
  CHECK(of(128, "int4", 32).total() == 2 * (64 + 16));
  CHECK(of(5, "int2", 64).total() == 2 * (2 + 4));
  CHECK(of(65, "int8", 64).metadata == 2 * 2 * 4);
  CHECK(of(65, "f8", 64).metadata == 0);
  CHECK(weight_bytes(1000, parse_cache_type("f16"), 64) == 2000);
  CHECK(weight_bytes(1000, parse_cache_type("int4"), 64) == 500 + 16 * 4);
}

TEST_CASE("[cache_size] a layer with a window keeps at most that many tokens") {
  const CacheType f16 = parse_cache_type("f16");
  CacheShape mistral = shape(32, 8, 128, 4096);
  CHECK(cache_bytes(mistral, f16, 4095) == 4095 * 131072ll);
  CHECK(cache_bytes(mistral, f16, 4096) == 4096 * 131072ll);
  CHECK(cache_bytes(mistral, f16, 131072) == 4096 * 131072ll);
  mistral.layers[5].window = 0;
  CHECK(cache_bytes(mistral, f16, 131072) == 4096ll * 31 * 4096 + 131072ll * 4096);
  mistral.sequences = 3;
  CHECK(cache_bytes(mistral, f16, 131072) == 3 * (4096ll * 31 * 4096 + 131072ll * 4096));
}

TEST_CASE("[cache_size] the longest context is the last that fits") {
  CHECK(longest_context(shape(12, 12, 64), parse_cache_type("f16"), 36864 * 1000) == 1000);
  CHECK(longest_context(shape(12, 12, 64), parse_cache_type("f16"), 36864 * 1000 - 1) == 999);
  CHECK(longest_context(shape(12, 12, 64), parse_cache_type("f16"), 36863) == 0);
  CHECK(longest_context(shape(12, 12, 64), parse_cache_type("f16"), -5) == 0);
  for (int i = 1; i < 60; ++i) {
    CacheShape some = shape(1 + i % 5, 1 + i % 3, 8 + i);
    some.layers[0].window = i % 2 == 0 ? 7 * i : 0;
    some.layers.push_back({2, 16, 0});
    some.sequences = 1 + i % 4;
    const CacheType& type = cache_types()[static_cast<size_t>(i) % cache_types().size()];
    const int64_t bytes = 12345 * i;
    const auto longest = longest_context(some, type, bytes);
    REQUIRE(longest.has_value());
    CHECK(cache_bytes(some, type, *longest) <= bytes);
    CHECK(cache_bytes(some, type, *longest + 1) > bytes);
  }
}

TEST_CASE("[cache_size] with windows everywhere there may be no limit") {
  const CacheShape windows = shape(2, 1, 8, 10);  // 2 x 16 elements a token
  const CacheType f16 = parse_cache_type("f16");
  CHECK_FALSE(longest_context(windows, f16, 640).has_value());
  CHECK(longest_context(windows, f16, 639) == 9);
}

TEST_CASE("[cache_size] the projection has every length, memory and type, weights are taken off") {
  const CacheShape gpt2 = shape(12, 12, 64);
  const CacheSizes sizes = cache_sizes(
      gpt2,
      {.tokens = 10, .lengths = {512, 1024}, .memories = {{"a", 1000 * 36864}, {"b", 5}}, .weights = 36864});
  const auto count = cache_types().size();
  CHECK(sizes.types.size() == count);
  REQUIRE(sizes.projections.size() == 2 * count);
  REQUIRE(sizes.fits.size() == 2 * count);
  for (const ProjectedSize& size : sizes.projections)
    CHECK(size.bytes == size.tokens * token_bytes(gpt2, size.type).total());
  for (const MemoryFit& fit : sizes.fits) {
    CHECK(fit.weights_fit == (fit.memory.name == "a"));
    if (fit.memory.name == "a" && std::string(fit.type.name) == "f16") CHECK(fit.tokens == 999);
  }
}

TEST_CASE("[cache_size] what is wrong is said") {
  CHECK(holds(message_of<UsageError>([] { parse_cache_type("fp16"); }),
              "f32, f16, bf16, f8, int8, int4, int2"));
  CHECK(holds(message_of<UsageError>([] { validate(shape(0, 1, 1)); }), "at least one layer"));
  CHECK(holds(message_of<UsageError>([] { validate(shape(1, 0, 64)); }), "0 KV heads"));
  CHECK(holds(message_of<UsageError>([] { validate(shape(1, 1, 64, -1)); }), "window of -1"));
  CHECK(holds(message_of<UsageError>([] { validate(shape(100000, 1 << 20, 1 << 20)); }), "one token"));
  CHECK(holds(message_of<UsageError>(
                  [] { cache_bytes(shape(32, 8, 128), parse_cache_type("f16"), int64_t{1} << 60); }),
              "2^62"));
}
