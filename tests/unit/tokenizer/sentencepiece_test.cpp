// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/sentencepiece_check.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

std::string open_error(const std::string& bytes) {
  const TempFolder folder;
  folder.write("tokenizer.model", bytes);
  return error_of<DataError>([&] { open_tokenizer(folder.path()); });
}

}  // namespace

TEST_CASE("[sentencepiece] pieces as a reader sees them" * doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "llama2");
  CHECK(tokenizer->piece(0) == "<unk>");
  CHECK(tokenizer->piece(1) == "<s>");
  CHECK(tokenizer->piece(3 + 0x0A) == "\n");
  CHECK(tokenizer->piece(3 + 0x41) == "A");
  CHECK(tokenizer->piece(3 + 0xE4) == "<0xE4>");
  CHECK(tokenizer->piece(15043) == " Hello");
  CHECK(tokenizer->piece(259) == "  ");
  CHECK(tokenizer->piece(32000) == "<id 32000>");
  CHECK(tokenizer->piece(-1) == "<id -1>");
}

TEST_CASE("[sentencepiece] byte pieces decode to the text they spell, or to replacements" *
          doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "llama2");
  CHECK(tokenizer->decode({3 + 0xE4, 3 + 0xBD, 3 + 0xA0}) == "\xE4\xBD\xA0");
  CHECK(contains(tokenizer->decode({15043, 3 + 0xE4}), "Hello\xEF\xBF\xBD"));
  CHECK(tokenizer->decode({1, 15043, 2}) == "Hello");
  CHECK(tokenizer->decode({32000}).empty());
  CHECK(contains(error_of<DataError>([&] { tokenizer->decode({-1}); }), "-1"));
}

TEST_CASE("[sentencepiece] tokens added beside the model are named and decoded; special ones stay text") {
  const auto tokenizer = open_tokenizer(fixtures() / "sentencepiece-bpe");
  CHECK(tokenizer->vocabulary() == 503);
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 500);
  CHECK(tokenizer->piece(500) == "<|im_end|>");
  CHECK(tokenizer->piece(501) == "<id 501>");
  CHECK(tokenizer->piece(502) == "<extra>");
  const std::vector<int32_t> ids = tokenizer->encode("the <|im_end|>");
  CHECK(std::find(ids.begin(), ids.end(), 500) == ids.end());
  CHECK(tokenizer->decode(ids) == "the <|im_end|>");
  CHECK(tokenizer->encode("the <extra>").back() == 502);
  std::vector<int32_t> marked = tokenizer->encode("the");
  marked.insert(marked.end(), {500, 502});
  CHECK(tokenizer->decode(marked) == "the<extra>");
  CHECK(tokenizer->decode({501}).empty());
}

TEST_CASE("[sentencepiece] add_prefix_space false: no blank is put before a text, nor taken from it") {
  const TempFolder folder;
  folder.link("tokenizer.model", fixtures() / "sentencepiece-bpe" / "tokenizer.model");
  const auto usual = open_tokenizer(folder.path());
  folder.write("tokenizer_config.json", R"({"add_prefix_space": false})");
  const auto bare = open_tokenizer(folder.path());
  CHECK(usual->piece(usual->encode("the").front()).starts_with(" "));
  CHECK_FALSE(bare->piece(bare->encode("the").front()).starts_with(" "));
  CHECK(bare->encode(" the") == usual->encode("the"));
  CHECK(bare->decode(bare->encode("the")) == "the");
  folder.write("tokenizer_config.json", R"({"add_prefix_space": true})");
  CHECK(open_tokenizer(folder.path())->encode("the") == usual->encode("the"));
}

TEST_CASE("[sentencepiece] added tokens, legacy and add_prefix_space: ids of transformers 4.57" *
          doctest::test_suite("refdata")) {
  const auto ids_of = [](const std::string& settings, const std::string& added, const char* text) {
    const TempFolder folder;
    folder.link("tokenizer.model", refdata() / "tokenizers" / "llama2" / "tokenizer.model");
    folder.write("tokenizer_config.json", settings);
    if (!added.empty()) folder.write("added_tokens.json", added);
    return open_tokenizer(folder.path())->encode(text);
  };
  const std::string named = R"({"tokenizer_class": "LlamaTokenizer")",
                    added = R"({"[INST]": 32000, "<|x|>": 32001})";
  const std::string raw = R"(, "added_tokens_decoder": {"32000": {"content": "[INST]", "normalized": false},
                             "32001": {"content": "<|x|>", "normalized": false}}})";
  const std::string modern = R"(, "legacy": false})", bare = R"(, "add_prefix_space": false})";
  using Ids = std::vector<int32_t>;
  struct Case {
    std::string settings, added;
    const char* text;
    Ids ids;
  };
  const Case cases[] = {
      {named + "}", added, "a <|x|> [INST] b", {263, 32001, 32000, 289}},
      {named + "}", added, "[INST] b", {32000, 289}},
      {named + "}", added, "x[INST]y", {921, 29961, 25580, 29962, 29891}},
      {named + "}", added, " [INST]  b", {29871, 32000, 29871, 289}},
      {named + "}", added, "a [INST][INST] b", {263, 32000, 29961, 25580, 29962, 289}},
      {named + raw, "", "a <|x|> [INST] b", {263, 29871, 32001, 259, 32000, 29871, 289}},
      {named + raw, "", "x[INST]y", {921, 32000, 343}},
      {named + raw, "", " [INST]  b", {259, 32000, 259, 289}},
      {named + modern, added, "a <|x|> [INST] b", {263, 29871, 32001, 29871, 32000, 289}},
      {named + modern, added, "x[INST]y", {921, 32000, 29891}},
      {named + modern, "", " leading", {8236}},
      {named + modern, "", " ", {29871}},
      {named + modern, "", "Hello world", {15043, 3186}},
      {named + bare, added, "a <|x|> [INST] b", {29874, 29871, 32001, 29871, 32000, 289}},
      {named + bare, added, " [INST]  b", {29871, 32000, 29871, 289}},
      {named + bare, "", "Hello world", {10994, 3186}},
      {named + bare, "", " leading", {8236}},
      {named + bare, "", "x", {29916}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.settings);
    CAPTURE(c.text);
    CHECK(ids_of(c.settings, c.added, c.text) == c.ids);
  }
}

TEST_CASE("[sentencepiece] what is not a model is refused, and nothing crashes on damaged ones") {
  const std::string model = read_file(fixtures() / "sentencepiece-bpe" / "tokenizer.model");
  CHECK(contains(open_error(""), "is not a SentencePiece model"));
  CHECK(contains(open_error("IQ== 0\nIg== 1\n"), "is not a SentencePiece model"));
  CHECK(contains(open_error(model.substr(0, model.size() / 2)), "is not a SentencePiece model"));
  CHECK(contains(open_error(std::string(4096, '\xFF')), "tokenizer.model"));
}

TEST_CASE("[sentencepiece] a normaliser's table that leads outside of itself is refused") {
  const auto field = [](char number, const std::string& bytes) {
    const auto low = static_cast<char>(0x80 | (bytes.size() & 0x7F));
    return std::string{static_cast<char>(number << 3 | 2), low, static_cast<char>(bytes.size() >> 7)} + bytes;
  };
  // A trie of 256 units, its size before it and the texts after it; the root is unit 0, a unit's label its
  // low byte.
  const auto model = [&](const std::vector<std::pair<size_t, uint32_t>>& units, const std::string& texts,
                         char spec) {
    std::string trie(1024, '\x80');
    for (const auto& [place, bits] : units) {
      for (size_t i = 0; i < 4; ++i) trie[4 * place + i] = static_cast<char>(bits >> 8 * i);
    }
    return field(spec, field(2, std::string("\0\x04\0\0", 4) + trie + texts));
  };
  const auto refusal = [](const std::string& bytes) {
    return error_of<DataError>([&] { check_sentencepiece(bytes); });
  };
  const std::string text("b\0", 2);
  const uint32_t leaf = 'a' | 1U << 8 | ('a' ^ 7U) << 10;  // at place 'a', with its value at place 7
  for (const char spec : {'\3', '\5'}) {
    CHECK(refusal(model({{0, 0}, {'a', leaf}, {7, 0}}, text, spec)) == "");
    CHECK(contains(refusal(model({{0, 0}, {'a', leaf}, {7, 2}}, text, spec)), "text at 2 of 2"));
    CHECK(contains(refusal(model({{0, 0}, {'a', 'a' | 1U << 19}}, text, spec)), "leads to unit"));
    CHECK(contains(refusal(model({{0, 256U << 10}}, text, spec)), "leads to unit 511 of 256"));
    CHECK(contains(refusal(model({{0, 0}}, "b", spec)), "do not end"));
    CHECK(contains(refusal(model({{0, 0}}, "", spec)), "for a trie of 1024"));
    CHECK(contains(refusal(field(spec, field(2, "abc"))), "is cut"));
  }
  CHECK(refusal(model({{0, 256U << 10}}, text, '\4')) == "");  // another field
  CHECK(contains(refusal("\x1A\x05"), "5 bytes with 0 left"));
  CHECK(contains(refusal("\x1B"), "no known kind"));
  CHECK(contains(refusal(std::string(12, '\xFF')), "does not end"));
}

TEST_CASE("[sentencepiece] invalid UTF-8 is refused with its offset") {
  const auto tokenizer = open_tokenizer(fixtures() / "sentencepiece-bpe");
  CHECK(contains(error_of<DataError>([&] { tokenizer->encode("ab\xFF"); }), "offset 2"));
}

TEST_CASE("[tokenizer] several threads share one tokenizer") {
  const std::string text = "The harbour town wakes before the sun does. \xE6\xB8\xAF";
  for (const char* name : {"sentencepiece-bpe", "bytes"}) {
    const auto tokenizer = open_tokenizer(fixtures() / name);
    const std::vector<int32_t> want = tokenizer->encode(text);
    std::vector<std::vector<int32_t>> got(8);
    std::vector<std::thread> threads;
    for (auto& ids : got) {
      threads.emplace_back([&] {
        for (int round = 0; round < 200; ++round) ids = tokenizer->encode(text);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& ids : got) CHECK(ids == want);
  }
}

TEST_CASE("[sentencepiece] a long text in one call" * doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "llama2");
  std::string text;
  while (text.size() < 300'000)
    text += "The harbour town wakes before the sun does, " + std::to_string(text.size()) + "\n";
  CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
}

}  // namespace kvviz::test
