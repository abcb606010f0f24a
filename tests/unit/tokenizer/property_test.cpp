// SPDX-License-Identifier: MIT
// 10,000 texts for each kind of tokenizer: the ids and the decoded text that the reference libraries give
// (scripts/fixtures/tokenizer_property.py), and how many texts come back unchanged.
#include <doctest/doctest.h>

#include <algorithm>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/gguf_support.hpp"
#include "unit/tokenizer/support.hpp"
#include "unit/tokenizer/texts.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;

std::filesystem::path property() {
  return fixtures() / "property";
}

std::unique_ptr<Tokenizer> tokenizer_of(const json& source) {
  if (source.contains("gguf")) {
    const GgufVocabulary file(fixtures() / source.at("gguf").get<std::string>());
    return source.contains("pre") ? file.open_with_pre(source.at("pre").get<std::string>()) : file.open();
  }
  const TempFolder folder;
  if (source.contains("links")) {
    for (const auto& [name, target] : source.at("links").items()) {
      folder.link(name, refdata() / target.get<std::string>());
    }
    return open_tokenizer(folder.path());
  }
  const std::filesystem::path base = fixtures() / source.at("folder").get<std::string>();
  // SentencePiece's own package knows of no tokens that were added to a model.
  if (std::filesystem::exists(base / "tokenizer.model")) {
    folder.link("tokenizer.model", base / "tokenizer.model");
    return open_tokenizer(folder.path());
  }
  if (!source.contains("patch")) return open_tokenizer(base);
  json description = load_json(base / "tokenizer.json");
  for (const auto& [path, value] : source.at("patch").items()) {
    description[json::json_pointer("/" + path)] = value;
  }
  folder.write_json("tokenizer.json", description);
  return open_tokenizer(folder.path());
}

std::string hash_of_ids(const std::vector<std::vector<int32_t>>& block) {
  Fnv hash;
  for (const std::vector<int32_t>& ids : block) {
    hash.add(static_cast<uint32_t>(ids.size()));
    for (const int32_t id : ids) hash.add(static_cast<uint32_t>(id));
  }
  return hash.hex();
}

std::string hash_of_texts(const std::vector<std::string>& block) {
  Fnv hash;
  for (const std::string& text : block) {
    hash.add(text);
    hash.add("\xFF");
  }
  return hash.hex();
}

void check_kind(const std::string& name, const std::vector<std::string>& texts, size_t block) {
  CAPTURE(name);
  const json want = load_json(property() / (name + ".json"));
  const auto tokenizer = tokenizer_of(want.at("source"));
  REQUIRE(want.at("ids").size() * block == texts.size());
  REQUIRE(want.at("first").size() == 10);
  const auto ties = want.at("ties").get<std::vector<size_t>>();
  REQUIRE(ties.size() < 50);
  int64_t round_trips = 0;
  int wrong_blocks = 0;
  for (size_t begin = 0; begin < texts.size(); begin += block) {
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::string> decoded;
    for (size_t i = begin; i < begin + block; ++i) {
      ids.push_back(tokenizer->encode(texts[i]));
      decoded.push_back(tokenizer->decode(ids.back()));
      round_trips += decoded.back() == texts[i] ? 1 : 0;
      if (std::find(ties.begin(), ties.end(), i) != ties.end()) ids.back().clear();
      if (i < 10) CHECK(json(ids.back()) == want.at("first")[i]);
    }
    // Texts and ids of a block: tokenizer_property.py --show KIND BLOCK.
    CAPTURE(begin / block);
    const bool same = hash_of_ids(ids) == want.at("ids")[begin / block];
    const bool same_text = hash_of_texts(decoded) == want.at("decoded")[begin / block];
    if (!same || !same_text) ++wrong_blocks;
    if (wrong_blocks < 3) {
      CHECK(same);
      CHECK(same_text);
    }
  }
  CHECK(wrong_blocks == 0);
  CHECK(round_trips == want.at("round_trips"));
}

void check_kinds(bool published) {
  const json description = load_json(property() / "texts.json");
  const std::vector<std::string> texts = drawn_texts(description);
  int kinds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(property())) {
    const std::string name = entry.path().stem().string();
    if (!entry.is_regular_file() || name == "texts" || name.starts_with("published-") != published) continue;
    ++kinds;
    check_kind(name, texts, description.at("block").get<size_t>());
  }
  CHECK(kinds == (published ? 8 : 33));
}

}  // namespace

TEST_CASE(
    "[property] 10,000 texts and every kind of tokenizer made for the tests: ids and text of the reference") {
  check_kinds(false);
}

TEST_CASE("[property] 10,000 texts and published tokenizers: ids and text of the reference" *
          doctest::test_suite("refdata")) {
  check_kinds(true);
}

// The kinds that neither normalise text nor lack a token for a part of it.
TEST_CASE("[property] all 10,000 texts come back from their ids where the tokenizer promises it") {
  for (const char* name : {"llama-3", "falcon", "bloom", "smollm", "phi-2", "bytes-gpt2", "gguf-gpt-2",
                           "gguf-llama-bpe", "published-gpt2"}) {
    CAPTURE(name);
    CHECK(load_json(property() / (std::string(name) + ".json")).at("round_trips") == 10'000);
  }
}

TEST_CASE("[property] the texts are those that the reference read") {
  // SplitMix64 from state 0, as published with the algorithm.
  SplitMix64 generator(0);
  CHECK(generator.next() == 0xE220A8397B1DCDAFULL);
  CHECK(generator.next() == 0x6E789E6AA1B965F4ULL);
  // FNV-1a of "a", as published with the algorithm.
  Fnv hash;
  hash.add("a");
  CHECK(hash.hex() == "af63dc4c8601ec8c");
  const std::vector<std::string> texts = drawn_texts(load_json(property() / "texts.json"));
  CHECK(texts.size() == 10'000);
  size_t ascii = 0;
  for (const std::string& text : texts) {
    ascii += std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; }) ? 1 : 0;
  }
  CHECK(ascii < 3'000);
}

}  // namespace kvviz::test
