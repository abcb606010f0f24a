// SPDX-License-Identifier: MIT
#include "kvviz/io/child_trial.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "kvviz/core/error.hpp"

namespace kvviz::io {
namespace {

// Reading takes a tenth of it, compressed data included.
rlim_t most_seconds(const std::filesystem::path& file) {
  constexpr uintmax_t bytes_a_second = 10'000'000;
  std::error_code none;
  const uintmax_t bytes = std::filesystem::file_size(file, none);
  return 1 + (none ? 0 : bytes / bytes_a_second);
}

[[noreturn]] void run_child(rlim_t seconds, const std::function<void()>& work) {
  const rlimit time{seconds, seconds}, no_core{0, 0};
  setrlimit(RLIMIT_CPU, &time);
  setrlimit(RLIMIT_CORE, &no_core);
  try {
    work();
  } catch (...) {
    _exit(0);
  }
  _exit(0);
}

}  // namespace

void try_in_child(const std::filesystem::path& file, const std::function<void()>& work) {
  const rlim_t seconds = most_seconds(file);
  const pid_t child = fork();
  require(child >= 0, file.string(), ": no process could be started to try it in");
  if (child == 0) run_child(seconds, work);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  require(WIFEXITED(status) && WEXITSTATUS(status) == 0, file.string(),
          ": the HDF5 library fails on it: the file is damaged, or not what it claims");
}

}  // namespace kvviz::io
