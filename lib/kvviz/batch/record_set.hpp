// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "kvviz/batch/record_file.hpp"

namespace kvviz::batch {

/// The records of a whole run: those of all its shards, or of one that was not shared out.
class RecordSet {
 public:
  /// Files in any order. Throws UsageError where they do not belong together (names the two files and the
  /// difference) or hold the same shard twice, DataError where shards are missing (names them) or have not
  /// finished (names the files).
  static RecordSet open(std::span<const std::filesystem::path> files);

  /// Of the whole run, with the texts of all shards.
  const Plan& plan() const { return plan_; }
  bool has(const RecordName& name) const { return file_of(name).has(name); }
  /// As RecordFile::find(). What concerns all texts is that of shard 0.
  std::optional<nlohmann::json> find(const RecordName& name) const;
  /// Of each file, shard by shard.
  std::vector<nlohmann::json> of_all(const std::string& stage) const;

 private:
  explicit RecordSet(std::vector<RecordFile> files);
  const RecordFile& file_of(const RecordName& name) const;
  std::vector<RecordFile> files_;  ///< [shard]
  Plan plan_;
};

/// Files as they are, and of folders the files *.records in them and in their results/, in the order of their
/// names. Throws DataError: there is none, a path does not exist.
std::vector<std::filesystem::path> find_record_files(std::span<const std::filesystem::path> paths);

}  // namespace kvviz::batch
