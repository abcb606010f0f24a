// SPDX-License-Identifier: MIT
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_target.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/result_file.hpp"

namespace {

// A file in memory, which HDF5 opens by its path.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("input.h5", 0)) {
    for (size_t done = 0; done < size;) {
      const ssize_t written = write(descriptor_, data + done, size - done);
      kvviz::require<std::runtime_error>(written > 0, "the file in memory cannot be written");
      done += static_cast<size_t>(written);
    }
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return kvviz::cat("/proc/self/fd/", descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const MemoryFile file(data, size);
  test::survives([&] { io::read_cache(file.path()); });
  return test::survives([&] {
    for (const std::string& name : io::list_arrays(file.path()))
      test::survives([&] { io::read_array(file.path(), name); });
  });
}
