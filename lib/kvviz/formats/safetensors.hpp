// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>

#include "kvviz/formats/stored_tensor.hpp"

namespace kvviz {

/// The tensors of one safetensors file by name, mapped, not read. The format:
/// https://huggingface.co/docs/safetensors. Everything the header claims is checked before any tensor is
/// used: header length, JSON, dtypes, shape against bytes, offsets inside the file, no overlap, no gap, no
/// name twice. Throws DataError naming file and tensor.
StoredTensors read_safetensors(const std::filesystem::path& path);

/// The same from bytes, which must stay: for tests. `name` stands in the errors.
StoredTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace kvviz
