// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

struct stat;

namespace kvviz {

/// What tells that a file is still as it was: size and time of the last change. (No inode: some network file
/// systems number files anew.)
struct FileIdentity {
  int64_t size = 0;
  int64_t modified = 0;  ///< nanoseconds since 1970
  bool operator==(const FileIdentity&) const = default;
};

FileIdentity identity_in(const struct stat& status);
/// Nothing where there is no such file, and for what is no regular file (a pipe).
std::optional<FileIdentity> identity_of(const std::filesystem::path& file);

/// Remembers a file that the run's results depend on as it is when it is first read. MappedFile, read_input
/// and io::Hdf5File::open do it for what they read.
void remember_input(const std::filesystem::path& file, const FileIdentity& identity);
void remember_input(const std::filesystem::path& file);

/// read_file of a file that results depend on. Throws DataError as read_file, and when the file changes
/// meanwhile.
std::string read_input(const std::filesystem::path& file);

/// What is to be said of the first remembered file that has changed since, or is gone; empty: none has.
/// Costs a stat of each.
std::string changed_input();
/// Remembers none any more: for a program that does one run after the other.
void forget_inputs();
/// Throws DataError with these words. Call it before results are written.
void require_unchanged_inputs();

}  // namespace kvviz
