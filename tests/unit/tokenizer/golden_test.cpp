// SPDX-License-Identifier: MIT
// Encode and decode cases that Hugging Face transformers gave for published tokenizers.
#include <doctest/doctest.h>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;

json golden(const std::string& name) {
  return load_json(refdata() / "tokenizers" / "golden" / "swift_transformers_tokenizer_tests.json").at(name);
}

// transformers' clean_up_tokenization_spaces, which its GPT-2 decoding applies and ours does not.
std::string cleaned_up(std::string text) {
  const std::pair<std::string_view, std::string_view> steps[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : steps) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;) text.replace(at, from.size(), to);
  }
  return text;
}

std::vector<int32_t> with_bos(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  if (tokenizer.adds_bos()) ids.push_back(tokenizer.bos().value());
  const std::vector<int32_t> rest = tokenizer.encode(text);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

}  // namespace

TEST_CASE("[tokenizer] golden GPT-2 cases" * doctest::test_suite("refdata")) {
  const json cases = golden("distilgpt2");
  REQUIRE(cases.size() == 18);
  for (const char* vocabulary : {"tokenizer.json", "vocab.json"}) {
    const TempFolder folder;
    folder.link(vocabulary, refdata() / "tokenizers" / "gpt2" / vocabulary);
    folder.link("merges.txt", refdata() / "tokenizers" / "gpt2" / "merges.txt");
    const auto tokenizer = open_tokenizer(folder.path());
    for (const json& entry : cases) {
      CAPTURE(entry);
      const auto text = entry.at("input").get<std::string>();
      const std::vector<int32_t> ids = with_bos(*tokenizer, text);
      CHECK(json(ids) == entry.at("encoded").at("input_ids"));
      CHECK(tokenizer->decode(ids) == text);
      CHECK(cleaned_up(tokenizer->decode(ids)) == entry.at("decoded_without_special").get<std::string>());
    }
  }
}

TEST_CASE("[tokenizer] golden Whisper cases, whose English vocabulary is GPT-2's between its own marks" *
          doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "gpt2");
  const json cases = golden("openai/whisper-tiny.en");
  REQUIRE(cases.size() == 18);
  for (const json& entry : cases) {
    CAPTURE(entry);
    const auto text = entry.at("input").get<std::string>();
    std::vector<int32_t> ids = {50257, 50362};
    for (const int32_t id : tokenizer->encode(text)) ids.push_back(id);
    ids.push_back(tokenizer->eos().value());
    CHECK(json(ids) == entry.at("encoded").at("input_ids"));
  }
}

TEST_CASE("[tokenizer] golden Llama-2 cases" * doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "llama2");
  const json cases = golden("coreml-projects/Llama-2-7b-chat-coreml");
  REQUIRE(cases.size() == 18);
  CHECK(tokenizer->vocabulary() == 32000);
  for (const json& entry : cases) {
    CAPTURE(entry);
    const std::vector<int32_t> ids = with_bos(*tokenizer, entry.at("input").get<std::string>());
    CHECK(json(ids) == entry.at("encoded").at("input_ids"));
    CHECK(tokenizer->decode(ids) == entry.at("decoded_without_special").get<std::string>());
    CHECK(tokenizer->piece(ids.front()) + " " + tokenizer->decode(ids) ==
          entry.at("decoded_with_special").get<std::string>());
  }
}

}  // namespace kvviz::test
