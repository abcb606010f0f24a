// SPDX-License-Identifier: MIT
// A reader that does what none may, for the tests of replay.cpp.
#include <csignal>
#include <vector>

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const std::string_view what = test::as_text(data, size);
  return test::survives([&] {
    test::expect(what != "throw", "an error that no reader declares");
    if (what == "crash") std::raise(SIGSEGV);
    if (what == "memory") std::vector<char>(size_t{3} << 30);
    for (volatile bool on = what == "hang"; on;) {
    }
  });
}
