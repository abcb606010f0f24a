// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace kvviz {

/// The entries of a zip archive whose bytes lie in it as they are (method "stored", as PyTorch writes), by
/// name: views into `bytes`. ZIP64 is read; the sizes are those of the central directory. Every offset and
/// length is checked before it is used. Throws DataError, naming `file` and entry: no archive, truncated,
/// several disks, an entry that is compressed or encrypted, a name twice.
std::map<std::string, std::span<const std::byte>> stored_entries(std::span<const std::byte> bytes,
                                                                 const std::string& file);

}  // namespace kvviz
