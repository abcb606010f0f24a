// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <optional>

namespace kvviz {

/// What to do on file systems that have no locks (many network file systems lock no folder).
enum class WithoutLocks { refuse, go_on };

/// An exclusive lock (flock) on a folder that exists, or on a file, which it makes. It is the lock that
/// Python's huggingface_hub takes (<cache>/.locks/<model>/<etag>.lock), so that both may download at once. It
/// ends with the object, or with the process, however that ends.
class FileLock {
 public:
  /// Waits until nobody holds it. `wait` is asked every tenth of a second and may throw to give up. Throws
  /// DataError when the file cannot be made or locked.
  FileLock(const std::filesystem::path& path, const std::function<void()>& wait,
           WithoutLocks without_locks = WithoutLocks::refuse);
  /// Nothing where somebody holds it. Throws as above.
  static std::optional<FileLock> if_free(const std::filesystem::path& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

/// Whether somebody holds a lock on one of the files of `folder`.
bool any_locked(const std::filesystem::path& folder);

}  // namespace kvviz
