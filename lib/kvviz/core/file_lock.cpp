// SPDX-License-Identifier: MIT
#include "kvviz/core/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace fs = std::filesystem;
namespace {

int open_for_lock(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(descriptor >= 0, "cannot open the folder ", path.string(), ": ", errno_text);
    return descriptor;
  }
  fs::create_directories(path.parent_path(), error);
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  require(descriptor >= 0, "cannot make the lock file ", path.string(), ": ", errno_text);
  return descriptor;
}

// Between being opened and being locked a file may have been renamed or taken away: who locks what is there
// now would not notice.
bool still_there(int descriptor, const fs::path& path) {
  struct stat locked {};
  struct stat there {};
  return fstat(descriptor, &locked) == 0 && stat(path.c_str(), &there) == 0 &&
         locked.st_dev == there.st_dev && locked.st_ino == there.st_ino;
}

bool take(int& descriptor, const fs::path& path, WithoutLocks without_locks) {
  while (flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
    if (still_there(descriptor, path)) return true;
    const int anew = open_for_lock(path);
    close(std::exchange(descriptor, anew));
  }
  const bool held = errno == EWOULDBLOCK || errno == EINTR;
  require(held || without_locks == WithoutLocks::go_on, "cannot lock ", path.string(), ": ", errno_text);
  return !held;
}

}  // namespace

FileLock::FileLock(const fs::path& path, const std::function<void()>& wait, WithoutLocks without_locks)
    : FileLock(open_for_lock(path)) {
  // The destructor closes when something is thrown: the object is whole once the other constructor has ended.
  while (!take(descriptor_, path, without_locks)) {
    wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::optional<FileLock> FileLock::if_free(const fs::path& path) {
  FileLock lock(open_for_lock(path));
  if (!take(lock.descriptor_, path, WithoutLocks::refuse)) return std::nullopt;
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

bool any_locked(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const int descriptor = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) continue;
    const bool locked = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(descriptor);
    if (locked) return true;
  }
  return false;
}

}  // namespace kvviz
