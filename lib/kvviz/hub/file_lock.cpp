// SPDX-License-Identifier: MIT
#include "kvviz/hub/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "kvviz/core/error.hpp"

namespace kvviz::hub {
namespace fs = std::filesystem;

FileLock::FileLock(const fs::path& file, const std::function<void()>& wait) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  descriptor_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "cannot make the lock file ", file.string(), ": ", std::strerror(errno));
  try {
    while (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      require(errno == EWOULDBLOCK || errno == EINTR, "cannot lock ", file.string(), ": ",
              std::strerror(errno));
      wait();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

FileLock::~FileLock() {
  close(descriptor_);
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

}  // namespace kvviz::hub
