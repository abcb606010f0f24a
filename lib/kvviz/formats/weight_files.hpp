// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <optional>

namespace kvviz {

enum class WeightFormat { safetensors, torch, gguf };

/// Where the weights of a model are.
struct WeightFiles {
  WeightFormat format = WeightFormat::safetensors;
  std::filesystem::path file;  ///< the weights, the index of their shards, or a GGUF model's first part
  bool sharded = false;        ///< `file` is an index
};

/// The weights of a model folder, or of a .gguf file: the first of model.safetensors, its index,
/// pytorch_model.bin, its index, the only GGUF model that is there, in one file or in parts; nullopt when
/// there is none. Throws DataError where a folder has several GGUF models and nothing else: one has to be
/// named; and where the first part of the only one is missing.
std::optional<WeightFiles> find_weights(const std::filesystem::path& model);

/// The GGUF file that a model is read from, configuration and vocabulary included: `model` itself, or the one
/// in the folder, or the first of its parts. nullopt for a folder in Hugging Face's layout, with or without
/// weights.
std::optional<std::filesystem::path> gguf_of(const std::filesystem::path& model);

}  // namespace kvviz
