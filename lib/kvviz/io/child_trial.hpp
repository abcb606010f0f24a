// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>

namespace kvviz::io {

/// Does `work` in a child process first, for HDF5 itself crashes on some damaged files: what has no checksum
/// (files of older formats, texts of variable length) leads it astray. Exceptions of `work` are not passed
/// on: the caller does it again and sees them. Costs a fork. Throws DataError naming `file` when the child is
/// ended by a signal, or works longer than any file of this size needs.
void try_in_child(const std::filesystem::path& file, const std::function<void()>& work);

}  // namespace kvviz::io
