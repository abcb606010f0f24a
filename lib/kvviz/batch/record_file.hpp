// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "kvviz/batch/plan.hpp"
#include "kvviz/core/file_lock.hpp"

namespace kvviz::batch {

/// The record of a stage of the work on a text is named by both; what concerns all texts has text -1.
struct RecordName {
  int64_t text = -1;
  std::string stage;  ///< at most 15 letters
  auto operator<=>(const RecordName&) const = default;
};

/// The records of a run or of one of its shards (docs/record_file.md): a plan, then what was measured, text
/// by text in the order in which they ended. A record is appended as one block with its length and checksum,
/// so that whatever ends the run (kill -9, a full disk) leaves all whole ones. A file that was written
/// without the record of any text goes with the object. Thread-safe. Memory: the
/// plan and some 100 bytes a record; records themselves stay in the file.
class RecordFile {
 public:
  /// A new file in place of an old one; one that holds records of an unfinished run is kept: set_aside().
  /// Throws DataError: not writable, another process has it open for writing.
  static RecordFile create(const std::filesystem::path& file, const Plan& plan);
  /// Goes on with a file: what a torn write left at its end is cut off. Creates it where there is none.
  /// Throws DataError as create(), and for a file that is none of these; UsageError, naming the difference,
  /// where it is of another run. Texts that could not be read when the run began and can be now are taken in.
  static RecordFile resume(const std::filesystem::path& file, const Plan& plan);
  /// For reading. Throws DataError: missing, not a file of this kind, a record is damaged.
  static RecordFile read(const std::filesystem::path& file);
  ~RecordFile();
  RecordFile(RecordFile&&) noexcept;
  RecordFile& operator=(RecordFile&&) noexcept;

  const std::filesystem::path& path() const;
  /// What create() has renamed an unfinished run's file to: FILE.old, FILE.old2, ...; empty: there was none.
  const std::filesystem::path& set_aside() const;
  const StoredPlan& stored_plan() const;
  const Plan& plan() const { return stored_plan().plan; }
  /// Appends a record; of a name that is there already, the later one counts. Throws DataError, naming the
  /// file, when it cannot be written (full disk): the file is then as it was before. Every few seconds it
  /// waits until the records are on the disk: when the machine fails, those before are there; that the disk
  /// could not take them is thrown too, with the record in the file.
  void add(const RecordName& name, const nlohmann::json& body);
  bool has(const RecordName& name) const;
  /// nullopt: there is none. Throws DataError when it cannot be read.
  std::optional<nlohmann::json> find(const RecordName& name) const;
  /// Texts that have a record.
  int64_t texts() const;
  /// That everything was measured has been noted: finish().
  bool finished() const;
  /// Notes that all texts of the shard have been dealt with, and waits until the file is on the disk.
  void finish();

 private:
  struct State;
  static RecordFile begin(const std::filesystem::path& file, FileLock lock, const Plan& plan,
                          std::filesystem::path set_aside = {});
  explicit RecordFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The plan alone, without the records. Throws DataError as RecordFile::read().
StoredPlan read_plan(const std::filesystem::path& file);

}  // namespace kvviz::batch
