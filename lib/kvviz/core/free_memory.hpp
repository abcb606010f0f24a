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

}  // namespace kvviz
