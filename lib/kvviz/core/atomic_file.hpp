// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "kvviz/core/interrupt.hpp"

namespace kvviz {

/// A file that appears whole or not at all: write to `temporary()`, then `commit()` renames it over the
/// target. Without a commit the destructor removes the temporary file, or the signal that ends the process
/// does (interrupt.hpp), so the target stays as it was.
class AtomicFile {
 public:
  /// Makes the target's folder. Throws DataError when the folder cannot be made or written.
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  const std::filesystem::path& target() const { return target_; }
  /// Throws DataError when the rename fails.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  AtInterrupt undo_;
  bool committed_ = false;
};

/// Writes `bytes` to `target` through an AtomicFile. Throws DataError (unwritable folder, full disk).
void write_file(const std::filesystem::path& target, std::string_view bytes);

/// Why nothing more can be written to `file`, which another program left incomplete: "No space left on
/// device"; empty: it can. Adds to the file.
std::string reason_against_writing(const std::filesystem::path& file);

/// Throws DataError unless files can be made in `folder`, or in its nearest parent that exists: so that a
/// long run does not end with it. Makes nothing. Some file systems say no only when they are written to.
void require_writable(const std::filesystem::path& folder);

/// Hands a file to `use` block by block: the whole one, or what is left of one that is open. Throws DataError
/// naming it when it cannot be read, also where that begins in its middle.
void read_blocks(const std::filesystem::path& file, const std::function<void(std::string_view)>& use);
void read_blocks(int descriptor, const std::filesystem::path& file,
                 const std::function<void(std::string_view)>& use);

/// The whole file. Throws DataError naming the file when it cannot be read.
std::string read_file(const std::filesystem::path& file);

}  // namespace kvviz
