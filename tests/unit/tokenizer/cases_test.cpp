// SPDX-License-Identifier: MIT
// The ids that the packages tokenizers and sentencepiece give (scripts/fixtures/tokenizer_cases.py).
#include <doctest/doctest.h>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;

std::vector<std::string> texts() {
  return load_json(fixtures() / "texts.json").at("texts");
}

json cases(const std::string& name) {
  return load_json(fixtures() / "cases" / (name + ".json"));
}

void check_cases(const Tokenizer& tokenizer, const std::string& name) {
  const std::vector<std::string> all = texts();
  const json file = cases(name);
  const json base = file.contains("patch") ? cases(file.at("folder")) : file;
  REQUIRE(file.at("ids").size() == all.size());
  REQUIRE(all.size() > 80);
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(name);
    CAPTURE(all[i]);
    const json& ids = file.at("ids")[i].is_null() ? base.at("ids")[i] : file.at("ids")[i];
    const std::vector<int32_t> got = tokenizer.encode(all[i]);
    CHECK(json(got) == ids);
    CHECK(tokenizer.decode(got) == file.at("decoded").value(std::to_string(i), all[i]));
  }
  for (const json& stream : file.value("streams", json::array())) {
    CAPTURE(stream);
    CHECK(tokenizer.decode(stream.at("ids")) == stream.at("decoded").get<std::string>());
  }
}

void check_folder(const std::filesystem::path& folder, const std::string& name) {
  check_cases(*open_tokenizer(folder), name);
}

}  // namespace

TEST_CASE("[tokenizer] byte-level BPE trained for the tests: ids of the package tokenizers") {
  check_folder(fixtures() / "bytes", "bytes");
  check_folder(fixtures() / "bytes-gpt2", "bytes-gpt2");
}

TEST_CASE("[tokenizer] BPE over characters with byte fallback: ids of the package tokenizers") {
  check_folder(fixtures() / "characters", "characters");
}

TEST_CASE("[tokenizer] SentencePiece models trained for the tests: ids of the package sentencepiece") {
  check_folder(fixtures() / "sentencepiece-bpe", "sentencepiece-bpe");
  check_folder(fixtures() / "sentencepiece-unigram", "sentencepiece-unigram");
}

TEST_CASE("[tokenizer] every supported setting of tokenizer.json: ids of the package tokenizers") {
  int patched = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / "cases")) {
    const std::string name = entry.path().stem().string();
    const json file = cases(name);
    if (!file.contains("patch")) continue;
    ++patched;
    json description = load_json(fixtures() / file.at("folder").get<std::string>() / "tokenizer.json");
    for (const auto& [path, value] : file.at("patch").items())
      description[json::json_pointer("/" + path)] = value;
    const TempFolder folder;
    folder.write_json("tokenizer.json", description);
    check_folder(folder.path(), name);
  }
  CHECK(patched == 13);
}

TEST_CASE(
    "[tokenizer] GPT-2: tokenizer.json and vocab.json + merges.txt give the ids of the package tokenizers" *
    doctest::test_suite("refdata")) {
  const std::filesystem::path gpt2 = refdata() / "tokenizers" / "gpt2";
  const TempFolder whole;
  whole.link("tokenizer.json", gpt2 / "tokenizer.json");
  check_folder(whole.path(), "gpt2");
  const TempFolder parts;
  parts.link("vocab.json", gpt2 / "vocab.json");
  parts.link("merges.txt", gpt2 / "merges.txt");
  check_folder(parts.path(), "gpt2");
}

TEST_CASE("[tokenizer] Qwen2: vocab.json + merges.txt gives the ids of the package tokenizers" *
          doctest::test_suite("refdata")) {
  check_folder(refdata() / "tokenizers" / "qwen2", "qwen2");
}

TEST_CASE("[tokenizer] GPT-NeoX: tokenizer.json gives the ids of the package tokenizers" *
          doctest::test_suite("refdata")) {
  const TempFolder folder;
  folder.link("tokenizer.json", refdata() / "tokenizers" / "gpt-neox-20b" / "20B_tokenizer.json");
  check_folder(folder.path(), "gpt-neox-20b");
}

TEST_CASE("[tokenizer] stories260K: tokenizer.json gives the ids of the package tokenizers and of llama2.c" *
          doctest::test_suite("refdata")) {
  const std::filesystem::path folder = refdata() / "stories260K-hf";
  const auto tokenizer = open_tokenizer(folder);
  check_cases(*tokenizer, "stories260k");
  CHECK(tokenizer->vocabulary() == 512);
  CHECK(tokenizer->adds_bos());
  const json golden = load_json(folder / "tokenizer_golden.json").at("cases");
  REQUIRE(golden.size() == 4);
  for (const json& entry : golden) {
    std::vector<int32_t> ids = {tokenizer->bos().value()};
    for (const int32_t id : tokenizer->encode(entry.at("text").get<std::string>())) ids.push_back(id);
    CHECK(json(ids) == entry.at("ids_with_bos"));
    CHECK(tokenizer->decode(ids) == entry.at("text").get<std::string>());
  }
}

TEST_CASE("[tokenizer] Llama-2, Mistral and unigram models: ids of the package sentencepiece" *
          doctest::test_suite("refdata")) {
  const std::pair<const char*, const char*> models[] = {
      {"llama2", "llama2/tokenizer.model"},
      {"mistral-v1", "mistral/tokenizer.model.v1"},
      {"mistral-v3", "mistral/mistral_instruct_tokenizer_240323.model.v3"},
      {"unigram", "sentencepiece-test/test_model.model"}};
  for (const auto& [name, file] : models) {
    const TempFolder folder;
    folder.link("tokenizer.model", refdata() / "tokenizers" / file);
    check_folder(folder.path(), name);
  }
}

TEST_CASE("[tokenizer] texts come back from their ids" * doctest::test_suite("refdata")) {
  const std::filesystem::path folders[] = {fixtures() / "bytes-gpt2", fixtures() / "sentencepiece-bpe",
                                           refdata() / "stories260K-hf"};
  for (const std::filesystem::path& folder : folders) {
    const auto tokenizer = open_tokenizer(folder);
    for (const std::string& text : texts()) {
      CAPTURE(folder.string());
      if (contains(text, "\xE2\x96\x81") && folder != folders[0]) continue;  // U+2581 is read as a space
      CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
    }
  }
}

}  // namespace kvviz::test
