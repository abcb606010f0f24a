// SPDX-License-Identifier: MIT
#include "kvviz/formats/safetensors.hpp"

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives(
      [&] { test::touch(parse_safetensors(test::as_bytes(data, size), "input.safetensors")); });
}
