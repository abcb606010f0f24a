// SPDX-License-Identifier: MIT
#include "kvviz/core/free_memory.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

constexpr const char* address_limit = "ulimit -v";

// "Name:   123 kB" of a file of such lines, or "name 123", in the file's unit.
std::optional<int64_t> entry(const fs::path& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    int64_t value = 0;
    if (words >> key >> value && (key == name || key == name + ':')) return value;
  }
  return std::nullopt;
}

// A file with one number; nothing for "max".
std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

void keep_least(FreeMemory& least, int64_t bytes, const char* limit) {
  if (bytes < least.bytes) least = {std::max<int64_t>(bytes, 0), limit};
}

// The group that "0::/path" of /proc/self/cgroup names, and those above it.
void keep_control_groups(FreeMemory& least, const fs::path& proc, const fs::path& cgroup) {
  std::ifstream in(proc / "self/cgroup");
  std::string line;
  while (std::getline(in, line) && !line.starts_with("0::/")) {
  }
  if (!line.starts_with("0::/")) return;
  for (fs::path group = fs::path(line.substr(4)); true; group = group.parent_path()) {
    const fs::path folder = group.empty() ? cgroup : cgroup / group;
    const auto most = number_in(folder / "memory.max"), used = number_in(folder / "memory.current");
    if (most && used) {
      const int64_t droppable = entry(folder / "memory.stat", "inactive_file").value_or(0);
      keep_least(least, *most - *used + droppable, "the memory limit of the control group");
    }
    if (group.empty()) return;
  }
}

void keep_limit(FreeMemory& least, decltype(RLIMIT_AS) resource, int64_t used, const char* limit) {
  rlimit found{};
  if (getrlimit(resource, &found) != 0 || found.rlim_cur == RLIM_INFINITY) return;
  keep_least(least, static_cast<int64_t>(found.rlim_cur) - used, limit);
}

}  // namespace

FreeMemory free_memory(const fs::path& proc, const fs::path& cgroup) {
  constexpr int64_t kib = 1024;
  FreeMemory least{std::numeric_limits<int64_t>::max(), "nothing"};
  if (const auto available = entry(proc / "meminfo", "MemAvailable"))
    keep_least(least, *available * kib, "the machine's memory");
  keep_control_groups(least, proc, cgroup);
  keep_limit(least, RLIMIT_AS, entry(proc / "self/status", "VmSize").value_or(0) * kib, address_limit);
  keep_limit(least, RLIMIT_DATA, entry(proc / "self/status", "VmData").value_or(0) * kib, "ulimit -d");
  return least;
}

int64_t addresses_of_threads(int threads) {
  constexpr int64_t blas_buffer = 135'000'000, least = 200'000'000;
  rlimit stack{};
  const bool known = getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
  const int64_t thread = known ? static_cast<int64_t>(stack.rlim_cur) : 8'000'000;
  return least + threads * blas_buffer + int64_t{threads} * threads * thread;
}

FreeMemory free_for_tensors(int threads) {
  FreeMemory free = free_memory();
  if (free.limit == address_limit)
    free.bytes = std::max<int64_t>(free.bytes - addresses_of_threads(threads), 0);
  return free;
}

bool has_address_limit() {
  rlimit addresses{};
  return getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY;
}

std::string no_memory_text(int64_t bytes) {
  const FreeMemory free = free_memory();
  return cat("not enough memory",
             bytes > 0 ? cat(" for ", size_text(static_cast<double>(bytes)), " more") : "", "; ", free.limit,
             " leaves ", size_text(static_cast<double>(free.bytes)),
             ". Fewer tokens, policies or methods at once, fewer --threads, or --dtype bf16 need less");
}

}  // namespace kvviz
