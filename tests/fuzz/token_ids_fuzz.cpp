// SPDX-License-Identifier: MIT
#include "texts_use.hpp"

// The same bytes as a file of token ids (--tokens) and as a text (--prompt-file).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TextReader& reader = test::text_reader();
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, test::as_text(data, size), "input.txt");
  const auto read = [&](const TextOptions& options) {
    return test::survives(
        [&] { test::expect_sound(read_text(options, *reader.tokenizer, reader.model, {})); });
  };
  read({.prompt_file = file, .truncate = true});
  return read({.tokens = file});
}
