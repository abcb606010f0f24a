// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/core/mapped_file.hpp"

namespace kvviz {

/// A tensor inside a safetensors file.
struct StoredTensor {
  std::string dtype;  ///< as the file names it: "F32", "F16", "BF16", "I64", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const MappedFile> file;
};

/// The tensors of a checkpoint by name, mapped, not read: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists. Everything the headers claim is checked before any tensor is used:
/// header length, JSON, dtypes, shape against bytes, offsets inside the file, no overlap, no gap, no name
/// twice, every name of the index in its shard. Throws DataError naming file and tensor.
class Checkpoint {
 public:
  static Checkpoint open(const std::filesystem::path& folder);
  static Checkpoint open_file(const std::filesystem::path& file);

  const StoredTensor* find(const std::string& name) const;
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }

 private:
  void add(const std::filesystem::path& path);

  std::map<std::string, StoredTensor> tensors_;
  std::vector<std::filesystem::path> files_;
};

/// The stored tensor as a libtorch tensor over the mapped bytes: no copy, and the tensor keeps the mapping
/// alive. nullopt for a dtype other than F32, F16, BF16, I64, I32.
std::optional<at::Tensor> borrowed(const StoredTensor& stored);

/// Writes dense CPU tensors (f32, f16, bf16, i64) as one safetensors file, whole or not at all.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace kvviz
