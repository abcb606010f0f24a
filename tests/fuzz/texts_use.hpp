// SPDX-License-Identifier: MIT
#pragma once
#include "fuzz_target.hpp"
#include "kvviz/engine/text_source.hpp"
#include "kvviz/tokenizer/tokenizer_json.hpp"

namespace kvviz::test {

/// Texts of a file as a command takes them: of a model with 300 tokens, one for each byte and a few more.
struct TextReader {
  std::unique_ptr<Tokenizer> tokenizer;
  ModelConfig model;
};
inline const TextReader& text_reader() {
  static const TextReader reader = [] {
    std::string vocabulary;
    for (int byte = 0; byte < 256; ++byte) {
      char token[16];
      std::snprintf(token, sizeof token, "\"<0x%02X>\":%d,", static_cast<unsigned>(byte), byte + 1);
      vocabulary += token;
    }
    TextReader made{.tokenizer = parse_tokenizer_json(
                        R"({"model":{"type":"BPE","byte_fallback":true,"unk_token":"<unk>","vocab":{)" +
                            vocabulary + R"("<unk>":0},"merges":[]}})",
                        {})};
    made.model.vocabulary = 300;
    made.model.context = 64;
    made.model.layers.assign(1, {.heads = 1, .kv_heads = 1, .head_dim = 2});
    return made;
  }();
  return reader;
}

inline void expect_sound(const TextInput& text) {
  const size_t tokens = text.tokens.ids.size();
  expect(tokens > 0 && tokens <= 64, "an empty text, or one longer than the context");
  expect(text.tokens.text.size() == tokens && text.tokens.positions.size() == tokens, "tokens without text");
  for (const int32_t id : text.tokens.ids) expect(id >= 0 && id < 300, "a token outside of the vocabulary");
}

inline int read_prompts(std::string_view bytes, const std::string& name) {
  const TextReader& reader = text_reader();
  const TemporaryFolder folder;
  TextsOptions options;
  options.prompts = as_file(folder, bytes, name);
  options.text.truncate = true;
  const CallOptions call{.quiet = true};
  return survives([&] {
    const TextSource texts = open_texts(options, *reader.tokenizer, reader.model, call);
    expect(texts.size > 0, "no text, and no error");
    for (int64_t i = 0; i < texts.size; ++i) {
      expect(!texts.name(i).empty(), "a text without a name");
      expect_sound(texts.read(i));
    }
  });
}

}  // namespace kvviz::test
