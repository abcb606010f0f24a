// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/cache/layer_queries.hpp"

namespace kvviz::io {

class Hdf5File;

/// The schema of cache files written here, and the newest one read here: docs/cache_file.md.
inline constexpr int cache_schema = 1;

/// Where a cache came from. Empty text: not known.
struct CacheProvenance {
  std::string command = "";       ///< command line that made it
  std::string model = "";         ///< directory name or hub id
  std::string model_sha256 = "";  ///< over config.json and the weight files
  std::string architecture = "";  ///< "llama", "gpt2", ...
  std::string bos = "unknown";  ///< "on": the first token is a BOS that the tokenizer added; "off"; "unknown"
  std::string created = "";     ///< ISO 8601, UTC; the writer asks no clock
  std::string kvviz_version = "";  ///< filled by reading; writing states its own
};

/// A layer's queries as the file describes them.
struct LayerQueryInfo {
  std::vector<int64_t> shape;  ///< [query_heads, tokens, head_dim]
  AttentionTerms terms;
};

/// One layer as the file describes it.
struct CacheLayerInfo {
  std::vector<int64_t> key_shape, value_shape;  ///< [kv_heads, tokens, head_dim]
  at::ScalarType dtype = at::kFloat;            ///< of the tensors that reading gives: f32, f16, bf16
  int query_heads = 0;
  int window = 0;
  std::optional<LayerQueryInfo> query;  ///< of every layer or of none; dtype as the key
};

/// An open cache file. Opening reads and checks everything except keys, values and queries: schema,
/// attributes, tokens, losses, the shape, type and stored size of every layer, so nothing large is allocated
/// for a file that is not what it claims.
///
/// Throws DataError naming the file and the object, with what was got and expected: missing, not HDF5,
/// truncated, damaged (checksums; a file without them is tried in a child process first, for HDF5 itself may
/// fail on it), a newer schema, a missing or mistyped object, shapes that disagree, a gap in the layers.
class CacheFile {
 public:
  explicit CacheFile(const std::filesystem::path& file);
  ~CacheFile();

  /// As in messages: the path.
  const std::string& name() const;
  const CacheProvenance& provenance() const { return provenance_; }
  const std::vector<CacheLayerInfo>& layers() const { return layers_; }
  /// Tokens, key basis and RoPE pairing; without layers.
  const KvCache& header() const { return header_; }

  /// Reads one layer: keys and values in the dtype recorded. Extra memory: one bf16 layer in f32.
  LayerKv layer(size_t index) const;

  /// Whether the layers' queries are there too.
  bool has_queries() const;
  /// Reads one layer's queries, in the dtype of its keys. Throws DataError where the file has none.
  LayerQueries queries(size_t index) const;
  /// Absent: not in the file.
  const std::optional<TokenLosses>& losses() const { return losses_; }

 private:
  CacheFile() = default;
  void open(const std::filesystem::path& file);
  void read_attributes();
  void read_tokens();
  void read_losses();
  void read_layer_list();
  void read_query_info(size_t index, CacheLayerInfo& layer) const;

  std::unique_ptr<Hdf5File> file_;
  CacheProvenance provenance_;
  KvCache header_;
  std::vector<CacheLayerInfo> layers_;
  std::optional<TokenLosses> losses_;
};

struct CacheContents {
  KvCache cache;
  CacheProvenance provenance;
};

/// Keys and values of all layers, read layer by layer; no queries. Errors as CacheFile.
CacheContents read_cache(const std::filesystem::path& file);

}  // namespace kvviz::io
