// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kvviz::analysis {

// What a KV cache takes, from the model's geometry alone.

/// Keys and values of one layer.
struct CacheLayer {
  int64_t kv_heads = 0;
  int64_t head_dim = 0;  ///< channels of a key, and of a value
  int64_t window = 0;    ///< the layer keeps at most this many tokens; 0: all
};

/// How an element is stored. Scaled types add to each key and each value vector, for every `group` of its
/// elements, an f16 scale and an f16 zero point (4 bytes), as KIVI (Liu et al., ICML 2024) does; f8 is taken
/// with one scale a tensor, which takes no room worth counting.
struct CacheType {
  const char* name;
  int bits;     ///< of an element
  bool scaled;  ///< has scales and zero points
};

/// f32, f16, bf16, f8, int8, int4, int2.
std::span<const CacheType> cache_types();
/// Throws UsageError listing the names.
const CacheType& parse_cache_type(const std::string& name);

struct CacheShape {
  std::vector<CacheLayer> layers;
  int64_t sequences = 1;  ///< of equal length, each with a cache of its own
  int64_t group = 64;     ///< elements that share a scale
};

/// Throws UsageError: no layers, a size below 1, a negative window, or caches beyond any machine.
void validate(const CacheShape& shape);

/// Keys and values of one token in one layer of one sequence, in bytes. A vector is packed into whole bytes.
struct TokenBytes {
  int64_t payload = 0;   ///< the elements
  int64_t metadata = 0;  ///< scales and zero points
  int64_t total() const { return payload + metadata; }
};
TokenBytes token_bytes(const CacheLayer& layer, const CacheType& type, int64_t group);

/// The same over all layers: 2 x layers x kv_heads x head_dim x bytes of an element, where all are alike.
TokenBytes token_bytes(const CacheShape& shape, const CacheType& type);

/// Bytes of the entries of all sequences at a length of `tokens`; a layer with a window keeps min(tokens,
/// window).
int64_t cache_bytes(const CacheShape& shape, const CacheType& type, int64_t tokens);

/// The largest number of tokens whose entries take at most `bytes`; 0: not even one. nullopt: any number,
/// because every layer has a window and all windows fit.
std::optional<int64_t> longest_context(const CacheShape& shape, const CacheType& type, int64_t bytes);

/// Bytes of a model's weights stored in this type; scaled types add 4 bytes for every `group` of parameters.
int64_t weight_bytes(int64_t parameters, const CacheType& type, int64_t group);

/// A memory that may have to hold the cache alone.
struct MemorySize {
  std::string name;  ///< as the user wrote it
  int64_t bytes = 0;
};

struct SizeOptions {
  int64_t tokens = 0;                ///< length that the types are compared at
  std::vector<int64_t> lengths;      ///< of the projection
  std::vector<MemorySize> memories;  ///< to be filled
  int64_t weights = 0;               ///< bytes that the weights take from each of these
};

struct TypeSize {
  CacheType type;
  TokenBytes token;   ///< one token, all layers
  int64_t bytes = 0;  ///< of the whole cache
};
struct ProjectedSize {
  int64_t tokens = 0;
  CacheType type;
  int64_t bytes = 0;
};
struct MemoryFit {
  MemorySize memory;
  CacheType type;
  bool weights_fit = true;
  std::optional<int64_t> tokens;  ///< nullopt: any number
};

struct CacheSizes {
  std::vector<TypeSize> types;             ///< as cache_types()
  std::vector<ProjectedSize> projections;  ///< by length, then type
  std::vector<MemoryFit> fits;             ///< by memory, then type
};

/// Sizes in every type. Throws UsageError as validate() and where a cache would take 2^62 bytes and more.
CacheSizes cache_sizes(const CacheShape& shape, const SizeOptions& options);

}  // namespace kvviz::analysis
