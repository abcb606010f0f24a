// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <optional>

namespace kvviz {

enum class WeightFormat { safetensors, torch, gguf };

/// Where the weights of a model are.
struct WeightFiles {
  WeightFormat format = WeightFormat::safetensors;
  std::filesystem::path file;  ///< the weights, or the index that names their shards
  bool sharded = false;        ///< `file` is an index
};

/// The weights of a model folder, or of a .gguf file: the first of model.safetensors, its index,
/// pytorch_model.bin, its index, the only .gguf file that is there; nullopt when there is none. Throws
/// DataError where a folder has several .gguf files and nothing else: one has to be named.
std::optional<WeightFiles> find_weights(const std::filesystem::path& model);

/// The GGUF file that a model is read from, configuration and vocabulary included: `model` itself, or the one
/// in the folder. nullopt for a folder in Hugging Face's layout, with or without weights.
std::optional<std::filesystem::path> gguf_of(const std::filesystem::path& model);

}  // namespace kvviz
