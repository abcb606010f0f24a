// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// A model folder in Hugging Face's layout, opened.
struct LoadedModel {
  Decoder decoder;
  std::string stored_dtype;                  ///< dtype of the weights on disk: f32, f16, bf16
  std::vector<std::filesystem::path> files;  ///< config.json and the weights, in the order of their hash
};

/// The configuration alone: reads config.json, no weights. Throws DataError: folder or config.json missing,
/// not JSON, unknown architecture, unsupported option.
ModelConfig load_config(const std::filesystem::path& folder);

/// Loads config.json and the safetensors beside it as f32. Before any weight is read, every name, shape and
/// dtype is checked, and a tensor that the configuration does not account for is refused: it would mean a
/// model that is run wrongly. f32 weights stay in the mapped file; f16 and bf16 are widened once, and their
/// pages given back, so memory is the weights and little more. NaN and infinite weights are errors that name
/// the tensor.
LoadedModel load_model(const std::filesystem::path& folder);

}  // namespace kvviz
