// SPDX-License-Identifier: MIT
#include "kvviz/cache/kv_cache.hpp"

#include <ATen/ops/ones.h>
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"

using namespace kvviz;

namespace {

KvCache cache_of(std::vector<LayerKv> layers, size_t tokens) {
  KvCache cache;
  cache.layers = std::move(layers);
  cache.tokens.ids.resize(tokens);
  cache.tokens.positions.resize(tokens);
  cache.tokens.text.resize(tokens);
  return cache;
}

LayerKv layer(at::IntArrayRef key, at::IntArrayRef value, at::ScalarType type = at::kFloat) {
  return {.key = at::ones(key, type), .value = at::ones(value, type)};
}

void check_refused(const KvCache& cache, const char* message) {
  CHECK_THROWS_WITH_AS(validate(cache.view(), "x.h5"), doctest::Contains(message), DataError);
}

}  // namespace

TEST_CASE("[cache] layers may differ in heads and head_dim, keys and values in head_dim") {
  const KvCache cache = cache_of({layer({2, 3, 4}, {2, 3, 4}), layer({1, 3, 8}, {1, 3, 5}, at::kHalf)}, 3);
  CHECK_NOTHROW(validate(cache.view(), "x.h5"));
  CHECK(cache.bytes() == 2 * 2 * 3 * 4 * 4 + (3 * 8 + 3 * 5) * 2);
  CHECK((widened(cache.layers[1].key).scalar_type() == at::kFloat));
  CHECK(widened(cache.layers[0].key).is_same(cache.layers[0].key));
}

TEST_CASE("[cache] what disagrees is named with its layer") {
  check_refused(cache_of({}, 0), "no layer");
  check_refused(cache_of({layer({2, 3, 4}, {2, 3, 4}), layer({2, 3, 4}, {1, 3, 4})}, 3), "layer 1");
  check_refused(cache_of({layer({2, 3, 4}, {2, 3, 4})}, 4), "holds 3 tokens; the token list has 4");
  check_refused(cache_of({layer({2, 3}, {2, 3})}, 3), "expected [kv_heads, tokens, head_dim]");
  check_refused(cache_of({layer({2, 3, 0}, {2, 3, 0})}, 3), "no size may be 0");
  check_refused(cache_of({layer({2, 3, 4}, {2, 3, 4}, at::kDouble)}, 3), "expected both f32, f16 or bf16");
  KvCache heads = cache_of({layer({2, 3, 4}, {2, 3, 4})}, 3);
  heads.layers[0].query_heads = 3;
  check_refused(heads, "cannot be shared out");
}
