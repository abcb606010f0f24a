// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <map>
#include <optional>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/cache/layer_queries.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/hdf5.hpp"

namespace kvviz::io {

struct CacheWriteOptions {
  int gzip = 0;  ///< 0: not compressed; 1 (fast) to 9 (small)
};

/// Writes a schema-1 file while a model runs: queries as its layers come, the cache at the end. The file
/// appears whole with finish(), or not at all. Keys, values and queries bit for bit (f32, f16; bf16 widened
/// to f32, with its dtype recorded). The same content, added in the same order, gives the same bytes. Extra
/// memory: one bf16 layer. Throws DataError: something is not valid, the folder is not writable, the disk is
/// full. UsageError: gzip is not 0-9.
class CacheWriter {
 public:
  CacheWriter(const std::filesystem::path& file, const CacheWriteOptions& options);

  /// Of each layer once, or of none: finish() compares them with the keys.
  void add_queries(size_t layer, const LayerQueries& queries);
  void add_losses(TokenLosses losses) { losses_ = std::move(losses); }
  void finish(const KvView& cache, const CacheProvenance& provenance);

 private:
  void check_queries(const KvView& cache) const;
  void write_header(const KvView& cache, const CacheProvenance& provenance);
  void write_tokens(const TokenInfo& tokens);
  void write_losses();
  void write_layer(size_t index, const LayerKv& layer);

  struct Query {
    std::vector<int64_t> shape;
    at::ScalarType dtype;
  };
  std::filesystem::path file_;
  CacheWriteOptions options_;
  AtomicFile target_;
  Hdf5File out_;  // after target_: closed before the temporary file is removed
  std::map<size_t, Query> queries_;
  std::optional<TokenLosses> losses_;
};

/// A cache without queries. Errors as CacheWriter.
void write_cache(const std::filesystem::path& file, const KvView& cache, const CacheProvenance& provenance,
                 const CacheWriteOptions& options = {});

}  // namespace kvviz::io
