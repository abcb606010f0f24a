// SPDX-License-Identifier: MIT
#include <fstream>

#include "fuzz_target.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/temporary_folder.hpp"

// HDF5 loses memory when a file is damaged; LeakSanitizer reads this function.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

// HDF5 opens files by their path only, and none in /proc.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  static const test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "input.h5";
  std::ofstream(file, std::ios::binary) << test::as_text(data, size);
  test::survives([&] { io::read_cache(file); });
  return test::survives([&] {
    for (const std::string& name : io::list_arrays(file)) test::survives([&] { io::read_array(file, name); });
  });
}
