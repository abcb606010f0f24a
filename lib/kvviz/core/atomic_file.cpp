// SPDX-License-Identifier: MIT
#include "kvviz/core/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace fs = std::filesystem;

namespace {

fs::path made_folder(const fs::path& target) {
  fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::error_code error;
  fs::create_directories(folder, error);
  require(fs::is_directory(folder), "cannot make the folder ", folder.string(), ": ", error.message());
  require(access(folder.c_str(), W_OK) == 0, "cannot write into ", folder.string(), ": ", errno_text);
  return folder;
}

fs::path temporary_for(const fs::path& target) {
  static std::atomic<int> serial{0};
  return made_folder(target) /
         cat('.', target.stem().string(), '.', getpid(), '.', serial++, target.extension().string());
}

// The error number; 0: all is written.
int write_to(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return errno;
    bytes.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
  return 0;
}

// Some file systems say only when a file is closed that it found no place.
int write_and_close(int descriptor, std::string_view bytes) {
  if (descriptor < 0) return errno;
  const int error = write_to(descriptor, bytes);
  return close(descriptor) != 0 && error == 0 ? errno : error;
}

}  // namespace

AtomicFile::AtomicFile(fs::path target)
    : target_(std::move(target)),
      temporary_(temporary_for(target_)),
      undo_([file = temporary_.string()] { unlink(file.c_str()); }) {}

void require_writable(const fs::path& folder) {
  fs::path there = fs::absolute(folder).lexically_normal();
  while (!fs::exists(there) && there.has_relative_path()) there = there.parent_path();
  require(fs::is_directory(there), "cannot write into ", folder.string(), ": ", there.string(),
          " is not a folder");
  require(access(there.c_str(), W_OK | X_OK) == 0, "cannot write into ", folder.string(), ": ",
          there.string(), ": ", errno_text);
}

AtomicFile::~AtomicFile() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  const Uninterrupted now;
  std::error_code error;
  fs::rename(temporary_, target_, error);
  require(!error, "cannot write ", target_.string(), ": ", error.message());
  committed_ = true;
}

void write_file(const fs::path& target, std::string_view bytes) {
  AtomicFile file(target);
  const int error =
      write_and_close(open(file.temporary().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), bytes);
  require(error == 0, "cannot write ", target.string(), ": ", std::strerror(error));
  file.commit();
}

std::string reason_against_writing(const fs::path& file) {
  const std::string more(size_t{1} << 16, ' ');
  const int error = write_and_close(open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC), more);
  return error == 0 ? "" : std::strerror(error);
}

void read_blocks(int descriptor, const fs::path& file, const std::function<void(std::string_view)>& use) {
  std::vector<char> block(size_t{1} << 18);
  for (ssize_t got = 1; got != 0;) {
    got = read(descriptor, block.data(), block.size());
    require(got >= 0 || errno == EINTR, "cannot read ", file.string(), ": ", errno_text);
    if (got > 0) use({block.data(), static_cast<size_t>(got)});
  }
}

void read_blocks(const fs::path& file, const std::function<void(std::string_view)>& use) {
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) close(number);
    }
  };
  const Descriptor descriptor{open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  require(descriptor.number >= 0, "cannot read ", file.string(), ": ", errno_text);
  read_blocks(descriptor.number, file, use);
}

std::string read_file(const fs::path& file) {
  require(!fs::is_directory(file), file.string(), " is a folder; expected a file");
  std::string bytes;
  read_blocks(file, [&](std::string_view block) { bytes += block; });
  return bytes;
}

}  // namespace kvviz
