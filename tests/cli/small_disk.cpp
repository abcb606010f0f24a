// SPDX-License-Identifier: MIT
#include "cli/small_disk.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <string>

#include "kvviz/core/error.hpp"

namespace kvviz::test {
namespace {

bool write_line(const char* file, const std::string& line) {
  const int descriptor = open(file, O_WRONLY | O_CLOEXEC);
  const bool written =
      descriptor >= 0 && write(descriptor, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  close(descriptor);
  return written;
}

bool mount_disk(const std::string& place, const std::string& options) {
  const std::string user = cat("0 ", getuid(), " 1\n"), group = cat("0 ", getgid(), " 1\n");
  return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_line("/proc/self/setgroups", "deny") &&
         write_line("/proc/self/uid_map", user) && write_line("/proc/self/gid_map", group) &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("disk", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
}

// Holds the namespace until its pipe is closed; a byte asks it to make the disk read-only.
[[noreturn]] void hold(const std::string& place, const std::string& options, int from, int to) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte = mount_disk(place, options) ? 'y' : 'n';
  if (write(to, &byte, 1) != 1) _exit(1);
  while (read(from, &byte, 1) == 1) {
    mount(nullptr, place.c_str(), nullptr, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr);
    if (write(to, &byte, 1) != 1) _exit(1);
  }
  _exit(0);
}

}  // namespace

SmallDisk::SmallDisk(int64_t bytes) {
  std::array<int, 2> ask{}, answer{};
  if (pipe2(ask.data(), O_CLOEXEC) != 0 || pipe2(answer.data(), O_CLOEXEC) != 0)
    throw std::runtime_error("pipe failed");
  const std::string place = place_.path(), options = cat("size=", bytes, ",mode=0777");
  const pid_t child = fork();
  if (child == 0) {
    close(ask[1]);
    hold(place, options, ask[0], answer[1]);
  }
  close(ask[0]);
  close(answer[1]);
  char mounted = 'n';
  const bool answered = read(answer[0], &mounted, 1) == 1;
  remount_ = ask[1];
  answer_ = answer[0];
  holder_ = child;
  mounted_ = answered && mounted == 'y';
}

SmallDisk::~SmallDisk() {
  close(remount_);
  close(answer_);
  waitpid(holder_, nullptr, 0);
}

std::filesystem::path SmallDisk::seen_from_here() const {
  return cat("/proc/", holder_, "/root", place_.path().string());
}

void SmallDisk::enter() const {
  const int user = open(cat("/proc/", holder_, "/ns/user").c_str(), O_RDONLY | O_CLOEXEC);
  const int mounts = open(cat("/proc/", holder_, "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC);
  if (setns(user, CLONE_NEWUSER) != 0 || setns(mounts, CLONE_NEWNS) != 0) _exit(126);
}

void SmallDisk::make_read_only() const {
  char byte = 'r';
  if (write(remount_, &byte, 1) != 1 || read(answer_, &byte, 1) != 1)
    throw std::runtime_error("the disk could not be made read-only");
}

void SmallDisk::leave(int64_t bytes) const {
  const auto file = seen_from_here() / "filler";
  std::filesystem::remove(file);
  struct statvfs disk {};
  if (statvfs(seen_from_here().c_str(), &disk) != 0) throw std::runtime_error("statvfs failed");
  const auto free = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
  std::ofstream(file, std::ios::binary)
      << std::string(static_cast<size_t>(std::max<int64_t>(free - bytes, 0)), 'x');
}

}  // namespace kvviz::test
