// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>

#include "support/temporary_folder.hpp"

namespace kvviz::test {

/// A disk of a few pages that only this object and the processes it lets in can see: a tmpfs in a mount
/// namespace of its own. Needs no rights where users may make namespaces; `available()` says whether.
class SmallDisk {
 public:
  explicit SmallDisk(int64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool available() const { return mounted_; }
  /// Where the disk is for this process.
  std::filesystem::path seen_from_here() const;
  /// Call in a child: it sees the disk at seen_from_there().
  void enter() const;
  std::filesystem::path seen_from_there() const { return place_.path(); }

  void make_read_only() const;
  /// Fills the disk until so many bytes are left.
  void leave(int64_t bytes) const;

 private:
  TemporaryFolder place_;
  pid_t holder_ = -1;
  int remount_ = -1, answer_ = -1;
  bool mounted_ = false;
};

}  // namespace kvviz::test
