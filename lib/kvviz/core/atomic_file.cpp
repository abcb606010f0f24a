// SPDX-License-Identifier: MIT
#include "kvviz/core/atomic_file.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace fs = std::filesystem;

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)) {
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  std::error_code error;
  fs::create_directories(folder, error);
  require(fs::is_directory(folder), "cannot make the folder ", folder.string(), ": ", error.message());
  require(access(folder.c_str(), W_OK) == 0, "cannot write into ", folder.string(), ": ",
          std::strerror(errno));
  static std::atomic<int> serial{0};
  temporary_ =
      folder / cat('.', target_.stem().string(), '.', getpid(), '.', serial++, target_.extension().string());
}

void require_writable(const fs::path& folder) {
  fs::path there = fs::absolute(folder).lexically_normal();
  while (!fs::exists(there) && there.has_relative_path()) there = there.parent_path();
  require(fs::is_directory(there), "cannot write into ", folder.string(), ": ", there.string(),
          " is not a folder");
  require(access(there.c_str(), W_OK | X_OK) == 0, "cannot write into ", folder.string(), ": ",
          there.string(), ": ", std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  std::error_code error;
  fs::rename(temporary_, target_, error);
  require(!error, "cannot write ", target_.string(), ": ", error.message());
  committed_ = true;
}

void write_file(const fs::path& target, std::string_view bytes) {
  AtomicFile file(target);
  std::ofstream out(file.temporary(), std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  require(out.good(), "cannot write ", target.string(), ": ", std::strerror(errno));
  file.commit();
}

std::string read_file(const fs::path& file) {
  require(!fs::is_directory(file), file.string(), " is a folder; expected a file");
  std::ifstream in(file, std::ios::binary);
  require(in.good(), "cannot read ", file.string(), ": ", std::strerror(errno));
  std::ostringstream bytes;
  bytes << in.rdbuf();
  require(!in.bad(), "cannot read ", file.string(), ": ", std::strerror(errno));
  return std::move(bytes).str();
}

}  // namespace kvviz
