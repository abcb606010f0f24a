// SPDX-License-Identifier: MIT
#include "kvviz/analysis/cache_size.hpp"

#include <algorithm>
#include <array>

#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

constexpr int64_t kScaleBytes = 4;  // an f16 scale and an f16 zero point
// Every size below this keeps the products of sizes within 64 bits; no cache comes near.
constexpr int64_t kLargestToken = int64_t{1} << 40, kLongest = int64_t{1} << 62;

int64_t ceiling(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Of the layers that are not full yet at `tokens`, and of one token in each.
bool fits(const CacheShape& shape, const CacheType& type, int64_t tokens, int64_t bytes) {
  int64_t left = bytes / shape.sequences;
  for (const CacheLayer& layer : shape.layers) {
    const int64_t kept = layer.window > 0 ? std::min(tokens, layer.window) : tokens;
    const int64_t each = token_bytes(layer, type, shape.group).total();
    if (kept > left / each) return false;
    left -= kept * each;
  }
  return true;
}

}  // namespace

std::span<const CacheType> cache_types() {
  static constexpr std::array<CacheType, 7> types = {{{"f32", 32, false},
                                                      {"f16", 16, false},
                                                      {"bf16", 16, false},
                                                      {"f8", 8, false},
                                                      {"int8", 8, true},
                                                      {"int4", 4, true},
                                                      {"int2", 2, true}}};
  return types;
}

const CacheType& parse_cache_type(const std::string& name) {
  std::string names;
  for (const CacheType& type : cache_types()) {
    if (name == type.name) return type;
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  }
  throw UsageError(cat("unknown dtype \"", name, "\"; expected ", names));
}

void validate(const CacheShape& shape) {
  require<UsageError>(!shape.layers.empty(), "a cache needs at least one layer");
  require<UsageError>(shape.sequences >= 1 && shape.sequences <= int64_t{1} << 20, shape.sequences,
                      " sequences; expected 1 to 1,048,576");
  require<UsageError>(shape.group >= 1, "a scale is shared by ", shape.group,
                      " elements; expected 1 or more");
  int64_t elements = 0;
  for (const CacheLayer& layer : shape.layers) {
    constexpr int64_t most = 1 << 20;
    require<UsageError>(layer.kv_heads >= 1 && layer.kv_heads <= most && layer.head_dim >= 1 &&
                            layer.head_dim <= most && layer.window >= 0,
                        "a layer has ", layer.kv_heads, " KV heads of ", layer.head_dim,
                        " channels and a window of ", layer.window,
                        " tokens; expected 1 to 1,048,576 heads and channels, and a window of 0 or more");
    elements += layer.kv_heads * layer.head_dim;
    require<UsageError>(elements <= kLargestToken / 16, "one token would take more than ", kLargestToken,
                        " bytes; look at the numbers of layers, KV heads and channels");
  }
}

TokenBytes token_bytes(const CacheLayer& layer, const CacheType& type, int64_t group) {
  const int64_t vectors = 2 * layer.kv_heads;
  return {vectors * ceiling(layer.head_dim * type.bits, 8),
          type.scaled ? vectors * ceiling(layer.head_dim, group) * kScaleBytes : 0};
}

TokenBytes token_bytes(const CacheShape& shape, const CacheType& type) {
  TokenBytes sum;
  for (const CacheLayer& layer : shape.layers) {
    const TokenBytes one = token_bytes(layer, type, shape.group);
    sum.payload += one.payload, sum.metadata += one.metadata;
  }
  return sum;
}

int64_t cache_bytes(const CacheShape& shape, const CacheType& type, int64_t tokens) {
  require<UsageError>(fits(shape, type, tokens, kLongest), "a cache of ", tokens, " tokens and ",
                      shape.sequences, " sequences takes more than 2^62 bytes; give fewer");
  int64_t sum = 0;
  for (const CacheLayer& layer : shape.layers) {
    const int64_t kept = layer.window > 0 ? std::min(tokens, layer.window) : tokens;
    sum += kept * token_bytes(layer, type, shape.group).total();
  }
  return sum * shape.sequences;
}

std::optional<int64_t> longest_context(const CacheShape& shape, const CacheType& type, int64_t bytes) {
  if (bytes <= 0) return 0;
  if (fits(shape, type, kLongest, bytes)) return std::nullopt;  // only windows
  int64_t low = 0, high = kLongest;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(shape, type, middle, bytes) ? low : high) = middle;
  }
  return low;
}

int64_t weight_bytes(int64_t parameters, const CacheType& type, int64_t group) {
  return ceiling(parameters * type.bits, 8) +
         (type.scaled ? ceiling(parameters, group) * kScaleBytes : int64_t{0});
}

CacheSizes cache_sizes(const CacheShape& shape, const SizeOptions& options) {
  validate(shape);
  CacheSizes sizes;
  for (const CacheType& type : cache_types())
    sizes.types.push_back({type, token_bytes(shape, type), cache_bytes(shape, type, options.tokens)});
  for (const int64_t tokens : options.lengths)
    for (const CacheType& type : cache_types())
      sizes.projections.push_back({tokens, type, cache_bytes(shape, type, tokens)});
  for (const MemorySize& memory : options.memories) {
    const int64_t left = memory.bytes - options.weights;
    for (const CacheType& type : cache_types())
      sizes.fits.push_back({memory, type, left >= 0, longest_context(shape, type, left)});
  }
  return sizes;
}

}  // namespace kvviz::analysis
