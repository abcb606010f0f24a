// SPDX-License-Identifier: MIT
#include "fuzz_target.hpp"
#include "kvviz/analysis/synthetic_sinks.hpp"
#include "kvviz/engine/profile_input.hpp"
#include "kvviz/engine/sink_run.hpp"

// HDF5 loses memory when a file is damaged; LeakSanitizer reads this function.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

// Arrays of a result that a command takes up again: --synthetic-fit, and --access of kvviz profile.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, test::as_text(data, size), "result.h5");
  test::survives([&] {
    const analysis::MeasuredAccess access = read_access(file);
    const auto values = static_cast<size_t>(access.layers * access.kv_heads * access.tokens);
    test::expect(access.reads.size() == values && access.mass.size() == values,
                 "another size than its shape");
  });
  return test::survives([&] {
    const analysis::SinkStudy study = read_sink_study(file);
    analysis::summarise(study, {}, {});
    analysis::fitted_study(study, {}, 1);
  });
}
