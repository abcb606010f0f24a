// SPDX-License-Identifier: MIT
#include "texts_use.hpp"

// A file of prompts, one a line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kvviz::test::read_prompts(kvviz::test::as_text(data, size), "prompts.txt");
}
