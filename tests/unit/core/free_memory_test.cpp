// SPDX-License-Identifier: MIT
#include "kvviz/core/free_memory.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

// What the kernel would show: 8 GiB available on the machine; a group /a/b below a group /a.
class Kernel {
 public:
  Kernel() {
    write(proc() / "meminfo", "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n");
    write(proc() / "self/status", "VmSize:\t 1048576 kB\nVmData:\t  524288 kB\n");
    write(proc() / "self/cgroup", "0::/a/b\n");
  }
  fs::path proc() const { return folder_.path() / "proc"; }
  fs::path cgroup() const { return folder_.path() / "cgroup"; }
  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories(file.parent_path());
    write_file(file, text);
  }
  void group(const fs::path& path, const std::string& most, const std::string& used,
             const std::string& stat) const {
    write(cgroup() / path / "memory.max", most);
    write(cgroup() / path / "memory.current", used);
    write(cgroup() / path / "memory.stat", stat);
  }
  FreeMemory free() const { return free_memory(proc(), cgroup()); }

 private:
  test::TemporaryFolder folder_;
};

constexpr int64_t gib = int64_t{1} << 30;

}  // namespace

TEST_CASE("[free memory] the machine's, where nothing else limits") {
  const Kernel kernel;
  kernel.group("a/b", "max\n", "4096\n", "");
  CHECK(kernel.free().bytes == 8 * gib);
  CHECK(kernel.free().limit == "the machine's memory");
}

TEST_CASE("[free memory] the tightest control group on the way up, droppable file pages not counted") {
  const Kernel kernel;
  kernel.group("a/b", "6442450944\n", "1073741824\n", "");                                  // 6 - 1 GiB
  kernel.group("a", "5368709120\n", "3221225472\n", "anon 5\ninactive_file 1073741824\n");  // 5 - 3 + 1 GiB
  CHECK(kernel.free().bytes == 3 * gib);
  CHECK(kernel.free().limit == "the memory limit of the control group");
  kernel.group("a", "1073741824\n", "3221225472\n", "");
  CHECK(kernel.free().bytes == 0);
}

TEST_CASE("[free memory] ulimit -v less what is mapped already") {
  const Kernel kernel;
  // 64 TiB: AddressSanitizer has 20 TiB of addresses mapped and needs more while the limit holds.
  constexpr int64_t limit = int64_t{1} << 46;
  kernel.write(kernel.proc() / "self/status",
               "VmSize:\t " + std::to_string((limit - 2 * gib) / 1024) + " kB\n");
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  if (before.rlim_max != RLIM_INFINITY && before.rlim_max < static_cast<rlim_t>(limit)) return;
  const rlimit limited{.rlim_cur = static_cast<rlim_t>(limit), .rlim_max = before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_AS, &limited) == 0);
  const FreeMemory free = kernel.free();
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(free.bytes == 2 * gib);
  CHECK(free.limit == "ulimit -v");
}

TEST_CASE("[free memory] of this machine") {
  CHECK(free_memory().bytes > 0);
}

TEST_CASE("[free memory] threads take addresses: more of them more, and few bytes less than one has") {
  CHECK(addresses_of_threads(1) > 300'000'000);
  CHECK(addresses_of_threads(4) > addresses_of_threads(1) + 3 * 128'000'000);
  CHECK(no_memory_text(5'000'000'000).find("not enough memory for 5 GB more; ") == 0);
  CHECK(no_memory_text().find("not enough memory; ") == 0);
}
