// SPDX-License-Identifier: MIT
#include "fuzz_target.hpp"
#include "tokenizer_use.hpp"

// vocab.json + merges.txt and the files beside them, as one input.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TemporaryFolder folder;
  test::as_files(folder, test::as_text(data, size),
                 {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
                  "added_tokens.json", "config.json"});
  return test::survives([&] { test::use(*open_tokenizer(folder.path())); });
}
