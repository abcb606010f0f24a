// SPDX-License-Identifier: MIT
#include "kvviz/io/child_trial.hpp"

#include <hdf5.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "kvviz/core/child.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/interrupt.hpp"

namespace kvviz::io {
namespace {

// Reading takes a tenth of it, compressed data included.
rlim_t most_seconds(const std::filesystem::path& file) {
  constexpr uintmax_t bytes_a_second = 10'000'000;
  std::error_code none;
  const uintmax_t bytes = std::filesystem::file_size(file, none);
  return 1 + (none ? 0 : bytes / bytes_a_second);
}

// What HDF5 wrote beyond its memory shows when the blocks beside it are freed or given out again: the C
// library then ends the process.
void stir_heap() {
  H5garbage_collect();
  std::vector<std::vector<char>> blocks;
  constexpr size_t largest = 100'000;  // larger ones stand in pages of their own
  for (size_t bytes = 16; bytes < largest; bytes += 16 + bytes / 8) blocks.emplace_back(bytes);
  blocks.clear();
  malloc_trim(0);
}

[[noreturn]] void run_child(int parent, rlim_t seconds, const std::function<void()>& work) {
  be_a_child(parent);
  const rlimit time{seconds, seconds}, no_core{0, 0};
  setrlimit(RLIMIT_CPU, &time);
  setrlimit(RLIMIT_CORE, &no_core);
  try {
    work();
  } catch (...) {
    stir_heap();
    _exit(0);
  }
  stir_heap();
  _exit(0);
}

}  // namespace

void try_in_child(const std::filesystem::path& file, const std::function<void()>& work) {
  const rlim_t seconds = most_seconds(file);
  const pid_t parent = getpid();
  const int status = status_of_child(
      [&](pid_t& child) {
        child = fork();
        require(child >= 0, file.string(), ": no process could be started to try it in: ", errno_text);
        if (child == 0) run_child(parent, seconds, work);
      },
      "the process that tries a file");
  require(WIFEXITED(status) && WEXITSTATUS(status) == 0, file.string(),
          ": the HDF5 library fails on it: the file is damaged, or not what it claims");
}

}  // namespace kvviz::io
