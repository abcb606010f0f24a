// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// A model folder in Hugging Face's layout, or a GGUF file, opened.
struct LoadedModel {
  Decoder decoder;
  std::string dtype;         ///< that matrices are kept in: f32, bf16, f16
  std::string stored_dtype;  ///< of most weights on disk: f32, f16, bf16, or blocks of GGUF: q8_0, q4_K, ...
  std::vector<std::filesystem::path> files;  ///< configuration and weights, in the order of their hash
};

/// Where a model's configuration stands: config.json, or the GGUF file (gguf_of). Throws DataError when there
/// is neither.
std::filesystem::path config_file(const std::filesystem::path& folder);

/// config.json, or what the metadata of a GGUF file says in its words. Throws DataError: config_file()
/// missing, not JSON.
nlohmann::json read_config(const std::filesystem::path& folder);

/// The configuration alone: reads config.json or the metadata of a GGUF file, no weights. `folder` may be a
/// .gguf file. Throws DataError: config_file() missing, not JSON, unknown architecture, unsupported option.
ModelConfig load_config(const std::filesystem::path& folder);

struct LoadOptions {
  /// kFloat, kBFloat16 or kHalf: matrices are kept so; norms, biases and learned positions always in f32.
  at::ScalarType matrices = at::kFloat;
  at::Device device = at::kCPU;  ///< where all weights go
  /// Called after each tensor with the bytes that are kept so far, of all; from several threads, but not from
  /// two at once. What it throws ends the loading.
  std::function<void(int64_t done, int64_t total)> on_bytes{};
};

/// Loads the configuration and the weights beside it (safetensors, PyTorch state dicts) or in the same file
/// and its parts (GGUF). Before any weight is read, every name, shape and dtype is checked, and a tensor that
/// the configuration does not account for is refused: it would mean a model that is run wrongly. Matrices
/// that are stored as they are kept stay in the mapped file; others are converted once, and their pages given
/// back, so memory is the weights and little more. NaN and infinite weights are errors that name the tensor,
/// also those that are too large for f16.
LoadedModel load_model(const std::filesystem::path& folder, const LoadOptions& options = {});

/// LoadedModel::files without loading: reads what names the tensors. Throws DataError as Checkpoint::open().
std::vector<std::filesystem::path> model_files(const std::filesystem::path& folder);

}  // namespace kvviz
