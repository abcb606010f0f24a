// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/sentencepiece_tokenizer.hpp"

#include "fuzz_target.hpp"
#include "tokenizer_use.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives([&] { test::use(*parse_sentencepiece(test::as_text(data, size), {})); });
}
