// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/ops/empty.h>

#include <array>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/cache/layer_queries.hpp"

namespace kvviz::test {

/// [heads, tokens, channels], filled with ((7 layer + 3 [value] + i) mod 61 - 30) / 8: exact in f32, f16 and
/// bf16, and the formula that cache_file_h5py_test.py checks.
inline at::Tensor pattern(std::array<int64_t, 3> shape, at::ScalarType dtype, int64_t first) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  auto* values = static_cast<float*>(tensor.data_ptr());
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>((first + i) % 61 - 30) / 8;
  return tensor.to(dtype);
}

/// Three layers that differ in heads, channels, query heads and window.
inline KvCache sample_cache(at::ScalarType dtype, int64_t tokens = 5) {
  KvCache cache;
  cache.basis = KeyBasis::post_rope;
  cache.pairing = RopePairing::half;
  cache.rotary_dim = 4;
  cache.layers.push_back({pattern({2, tokens, 4}, dtype, 0), pattern({2, tokens, 4}, dtype, 3), 4, 0});
  cache.layers.push_back({pattern({1, tokens, 8}, dtype, 7), pattern({1, tokens, 6}, dtype, 10), 4, 3});
  cache.layers.push_back({pattern({4, tokens, 4}, dtype, 14), pattern({4, tokens, 4}, dtype, 17), 0, 0});
  const std::vector<std::string> pieces = {"<s>", " Paris", "\n", "\xC3\xA9t\xC3\xA9", "\xF0\x9F\x97\xBC"};
  for (int64_t t = 0; t < tokens; ++t) {
    cache.tokens.ids.push_back(static_cast<int32_t>(11 * t + 1));
    cache.tokens.positions.push_back(static_cast<int32_t>(t));
    cache.tokens.text.push_back(pieces[static_cast<size_t>(t) % pieces.size()]);
  }
  return cache;
}

/// Queries for it, 8 heads in the last layer: a scale that f32 does not hold exactly, a softcap, slopes.
inline std::vector<LayerQueries> sample_queries(at::ScalarType dtype) {
  return {{pattern({4, 5, 4}, dtype, 21), {0.1, 0, {}}},
          {pattern({4, 5, 8}, dtype, 24), {0.25, 30, {0.5F, 0.25F, 0.1F, 0.0625F}}},
          {pattern({8, 5, 4}, dtype, 27), {1.0 / 3, 0, {}}}};
}

inline TokenLosses sample_losses() {
  return {{0.1, 2.5, 1.0 / 3, 7}, {0, 1, 1, 0}};
}

}  // namespace kvviz::test
