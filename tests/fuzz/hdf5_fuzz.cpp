// SPDX-License-Identifier: MIT
#include "fuzz_target.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/result_file.hpp"

// HDF5 loses memory when a file is damaged; LeakSanitizer reads this function.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

// HDF5 opens files by their path only, and none in /proc.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, test::as_text(data, size), "input.h5");
  test::survives([&] {
    const io::CacheFile cache(file);
    for (size_t i = 0; i < cache.layers().size(); ++i) {
      const LayerKv layer = cache.layer(i);
      if (!cache.has_queries()) continue;
      const LayerQueries queries = cache.queries(i);
      test::expect(queries.query.size(0) % layer.kv_heads() == 0 && queries.query.size(1) == layer.tokens() &&
                       queries.query.size(2) == layer.head_dim(),
                   "queries that are not the layer's");
    }
  });
  return test::survives([&] {
    for (const std::string& name : io::list_arrays(file)) test::survives([&] { io::read_array(file, name); });
  });
}
