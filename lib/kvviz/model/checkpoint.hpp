// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/formats/stored_tensor.hpp"

namespace kvviz {

/// The tensors of a model by the names that transformers gives them, mapped, not read: safetensors, PyTorch
/// state dicts or GGUF. Everything the headers claim is checked before any tensor is used, and in shards
/// every name of the index in its shard, no name twice. Throws DataError naming file and tensor.
class Checkpoint {
 public:
  /// Of a model folder or a .gguf file: what find_weights() finds there.
  static Checkpoint open(const std::filesystem::path& model);
  /// One safetensors file.
  static Checkpoint open_file(const std::filesystem::path& file);

  const StoredTensor* find(const std::string& name) const;
  const StoredTensors& tensors() const { return tensors_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// The dtype that most bytes are in, as reports write it: "f32", "bf16", "q4_K".
  std::string dtype() const;

 private:
  void add(const std::filesystem::path& file, StoredTensors tensors);
  void add_shards(const std::filesystem::path& index, StoredTensors (*read)(const std::filesystem::path&));

  StoredTensors tensors_;
  std::vector<std::filesystem::path> files_;
};

/// Throws DataError, with `where` in front, for a dtype that no weights are read from: what is supported, and
/// of 8-bit floats why not.
void require_readable(const StoredTensor& stored, const std::string& where);

/// What the file holds as a libtorch tensor of shape_in_file() over the mapped bytes: no copy, and the tensor
/// keeps the mapping alive. nullopt for a dtype other than F32, F16, BF16, I64, I32 and for rows in another
/// order.
std::optional<at::Tensor> borrowed(const StoredTensor& stored);

/// A tensor in f32, as the file holds it but with its row_order. Widened once, in the calling thread.
at::Tensor widened(const StoredTensor& stored);

/// These rows of what widened() gives, by their numbers in it, as a tensor of its own: nothing is read.
StoredTensor picked_rows(const StoredTensor& stored, const std::vector<int64_t>& rows);

}  // namespace kvviz
