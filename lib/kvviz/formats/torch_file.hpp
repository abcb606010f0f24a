// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>

#include "kvviz/formats/stored_tensor.hpp"

namespace kvviz {

/// The tensors of a PyTorch state dict as torch.save has written it since 1.6: a zip archive with the pickle
/// data.pkl and the storages data/<key>. Mapped, not read; tensors may share a storage, as tied weights do.
/// dtypes: F32, F16, BF16, F64, I64 to I8, U8, BOOL. Matrices may be stored transposed; other strides are
/// refused. No code in a pickle is ever run: see unpickle(). Throws DataError naming file and tensor: a file
/// from before 1.6, a compressed archive, big-endian, storages that are missing or too short, tensors outside
/// their storage, anything that is no plain dict from names to tensors.
StoredTensors read_torch_file(const std::filesystem::path& path);

/// The same from bytes, which must stay: for tests. `name` stands in the errors.
StoredTensors parse_torch_file(std::span<const std::byte> bytes, const std::string& name);

}  // namespace kvviz
