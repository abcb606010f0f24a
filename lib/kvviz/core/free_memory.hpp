// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace kvviz {

/// What this process can still allocate.
struct FreeMemory {
  int64_t bytes = 0;
  std::string limit;  ///< what sets it: "the machine's memory", "the memory limit of the control group", ...
};

/// The least of: the machine's available memory (MemAvailable of meminfo), what the process's control group
/// leaves (cgroup v2: memory.max - memory.current, of it and of its parents, file pages that can be dropped
/// not counted as used), and what `ulimit -v` and `ulimit -d` leave. `proc` and `cgroup` are where the kernel
/// shows these, for tests.
FreeMemory free_memory(const std::filesystem::path& proc = "/proc",
                       const std::filesystem::path& cgroup = "/sys/fs/cgroup");

/// Addresses that the libraries take beside the model when so many threads compute: a buffer of OpenBLAS for
/// each, stacks, and OpenMP's helpers of each. They count under `ulimit -v` only, where OpenBLAS would wait
/// for its buffer for ever. Measured, rounded up.
int64_t addresses_of_threads(int threads);

/// free_memory() less what the threads still take, where `ulimit -v` sets it.
FreeMemory free_for_tensors(int threads);

/// Whether `ulimit -v` limits this process.
bool has_address_limit();

/// What is to be said when an allocation fails; `bytes`: how many were asked for, 0: not known.
std::string no_memory_text(int64_t bytes = 0);

}  // namespace kvviz
