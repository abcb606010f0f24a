// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>

namespace kvviz::hub {

/// An exclusive lock on a file (flock), which it makes: the one that Python's huggingface_hub takes
/// (<cache>/.locks/<model>/<etag>.lock), so that both may download at once. It ends with the object, or with
/// the process.
class FileLock {
 public:
  /// Waits until nobody holds it. `wait` is asked every tenth of a second and may throw to give up. Throws
  /// DataError when the file cannot be made or locked.
  FileLock(const std::filesystem::path& file, const std::function<void()>& wait);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

/// Whether somebody holds a lock on one of the files of `folder`.
bool any_locked(const std::filesystem::path& folder);

}  // namespace kvviz::hub
