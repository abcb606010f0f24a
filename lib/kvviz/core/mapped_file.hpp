// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "kvviz/core/interrupt.hpp"

namespace kvviz {

/// A file mapped read-only into memory, and remembered as an input (file_identity.hpp). Throws DataError when
/// it cannot be opened or mapped. Where main() watches signals, reading a part that the file no longer has
/// ends the process with an error that names it.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  /// Gives the pages of a part back to the kernel; reading it again loads it from the file.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
  std::optional<WatchedMemory> watched_;
};

}  // namespace kvviz
