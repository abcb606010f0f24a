// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/gguf_tokenizer.hpp"

#include "fuzz_target.hpp"
#include "tokenizer_use.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives(
      [&] { test::use(*open_gguf_tokenizer(GgufFile::parse(test::as_bytes(data, size), "input.gguf"))); });
}
