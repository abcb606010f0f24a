// SPDX-License-Identifier: MIT
// Which files are read, and what is said of those that cannot be.
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;

std::string open_error(const TempFolder& folder) {
  return error_of<DataError>([&] { open_tokenizer(folder.path()); });
}

// The error of the fixture "bytes" with one member of its tokenizer.json changed.
std::string error_with(const std::string& pointer, const json& value) {
  const TempFolder folder;
  json description = load_json(fixtures() / "bytes" / "tokenizer.json");
  description[json::json_pointer(pointer)] = value;
  folder.write_json("tokenizer.json", description);
  return open_error(folder);
}

}  // namespace

TEST_CASE("[tokenizer files] a folder without a tokenizer names what is looked for") {
  const TempFolder folder;
  for (const char* name : {"tokenizer.model", "tokenizer.json", "vocab.json", "merges.txt"}) {
    CAPTURE(name);
    CHECK(contains(open_error(folder), name));
  }
  folder.write("vocab.json", "{}");
  CHECK(contains(open_error(folder), "merges.txt is missing"));
  folder.remove("vocab.json");
  folder.write("merges.txt", "");
  CHECK(contains(open_error(folder), "vocab.json is missing"));
  CHECK(contains(error_of<DataError>([&] { open_tokenizer(folder.path() / "nowhere"); }),
                 "is not a folder, nor a .gguf file"));
}

TEST_CASE("[tokenizer files] tokenizer.json goes before tokenizer.model before vocab.json") {
  const TempFolder folder;
  folder.link_all(fixtures() / "bytes-gpt2");
  CHECK(open_tokenizer(folder.path())->vocabulary() == 500);
  folder.link("tokenizer.model", fixtures() / "sentencepiece-bpe" / "tokenizer.model");
  CHECK(open_tokenizer(folder.path())->vocabulary() == 500);
  CHECK(open_tokenizer(folder.path())->piece(1) == "<s>");
  folder.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
  CHECK(open_tokenizer(folder.path())->vocabulary() > 600);
}

TEST_CASE("[tokenizer files] a model_type that is null is none") {
  const TempFolder folder;
  folder.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
  folder.write("config.json", R"({"model_type": null})");
  CHECK(open_tokenizer(folder.path())->vocabulary() > 600);
}

TEST_CASE("[tokenizer files] corrupt JSON is named with its place") {
  const TempFolder folder;
  folder.write("tokenizer.json", R"({"model": {"type": "BPE", "vocab")");
  CHECK(contains(open_error(folder), "tokenizer.json is not valid JSON"));
  CHECK(contains(open_error(folder), "column"));
  folder.write("tokenizer.json", "[1]");
  CHECK(contains(open_error(folder), "\"model\""));
  folder.write("tokenizer.json", std::string(100'000, '['));
  CHECK(contains(open_error(folder), "more than 64 others"));
  folder.link("ok.json", fixtures() / "bytes" / "tokenizer.json");
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"}) {
    const TempFolder other;
    other.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
    other.write(name, "{");
    CHECK(contains(open_error(other), name));
    other.write(name, "[]");
    CHECK(contains(open_error(other), name));
  }
}

TEST_CASE("[tokenizer files] kinds that are not supported are named, with those that are") {
  for (const char* kind : {"WordPiece", "WordLevel"}) {
    const std::string message = error_with("/model/type", kind);
    CHECK(contains(message, kind));
    CHECK(contains(message, "supported: SentencePiece"));
    CHECK(contains(message, "tokenizer.json"));
  }
  CHECK(contains(error_with("/model/type", "Unigram"), "Unigram model after a ByteLevel"));
  CHECK(contains(error_with("/model", {{"vocab", {{"a", 0}}}}), "'WordPiece or WordLevel'"));
  CHECK(
      contains(error_with("/pre_tokenizer", nullptr), "neither a ByteLevel pre-tokeniser nor byte_fallback"));
  CHECK(contains(error_with("/pre_tokenizer", {{"type", "UnicodeScripts"}}), "'UnicodeScripts'"));
  CHECK(contains(error_with("/normalizer", {{"type", "BertNormalizer"}}), "'BertNormalizer'"));
  CHECK(contains(error_with("/decoder", {{"type", "WordPiece"}}), "decoder 'WordPiece'"));
  CHECK(contains(error_with("/model/dropout", 0.1), "dropout 0.1"));
  CHECK(contains(error_with("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix"));
  CHECK(contains(error_with("/decoder", {{"type", "Strip"}, {"content", " "}, {"start", 2}, {"stop", 0}}),
                 "one space at the start"));
  CHECK(contains(error_with("/post_processor", {{"type", "Nonsense"}}), "post-processor 'Nonsense'"));
}

TEST_CASE("[tokenizer files] vocab.json + merges.txt needs a tokenizer class whose words are known") {
  const TempFolder folder;
  folder.link_all(fixtures() / "bytes-gpt2");
  folder.write_json("tokenizer_config.json", json{{"tokenizer_class", "BlenderbotTokenizer"}});
  CHECK(contains(open_error(folder), "BlenderbotTokenizer"));
  folder.write_json("tokenizer_config.json",
                    json{{"tokenizer_class", "GPT2TokenizerFast"}, {"add_prefix_space", true}});
  CHECK(open_tokenizer(folder.path())->decode(open_tokenizer(folder.path())->encode("x")) == " x");
}

TEST_CASE("[tokenizer files] vocabularies and merges that do not fit together are refused") {
  CHECK(contains(error_with("/model/vocab/zzz", 5), "two tokens have the id 5"));
  CHECK(contains(error_with("/model/vocab/zzz", -1), "has the id -1"));
  CHECK(contains(error_with("/model/vocab/zzz", 1 << 30), "has the id"));
  CHECK(contains(error_with("/model/vocab/zzz", "x"), "expected an integer"));
  CHECK(contains(error_with("/model/vocab/zzz", 5.0), "expected an integer"));
  CHECK(contains(error_with("/added_tokens/0/id", 4'294'967'296), "has the id 4294967296"));
  CHECK(contains(error_with("/model/vocab", json::object()), "vocabulary"));
  CHECK(contains(error_with("/model/merges/0", "onlyone"), "'onlyone'"));
  CHECK(contains(error_with("/model/merges/0", "a b c"), "'a b c'"));
  CHECK(contains(error_with("/model/merges/0", json{"q", "\xC4\xA0"}), "which the vocabulary does not have"));
  CHECK(contains(error_with("/model/merges/0", json{"q"}), "not a pair"));
  const TempFolder folder;
  folder.link("vocab.json", fixtures() / "bytes-gpt2" / "vocab.json");
  folder.write("merges.txt", "#version: 0.2\nt h\nt h e\n");
  CHECK(contains(open_error(folder), "'t h e'"));
  CHECK(contains(open_error(folder), "merges.txt"));
}

TEST_CASE("[tokenizer files] merges written as pairs and as lines give the same ids") {
  const TempFolder folder;
  json description = load_json(fixtures() / "bytes" / "tokenizer.json");
  for (json& merge : description["model"]["merges"]) {
    if (merge.is_array()) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  folder.write_json("tokenizer.json", description);
  const std::string text = "The harbour town wakes before the sun does.";
  CHECK(open_tokenizer(folder.path())->encode(text) == open_tokenizer(fixtures() / "bytes")->encode(text));
}

TEST_CASE("[tokenizer files] merges.txt with CRLF line ends") {
  const auto plain = open_tokenizer(fixtures() / "bytes-gpt2");
  std::ifstream in(fixtures() / "bytes-gpt2" / "merges.txt");
  std::string crlf;
  for (std::string line; std::getline(in, line);) crlf += line + "\r\n";
  const TempFolder folder;
  folder.link("vocab.json", fixtures() / "bytes-gpt2" / "vocab.json");
  folder.write("merges.txt", crlf);
  CHECK(open_tokenizer(folder.path())->encode("the harbour") == plain->encode("the harbour"));
}

TEST_CASE("[tokenizer files] invalid UTF-8 in the text is refused with its offset") {
  const auto tokenizer = open_tokenizer(fixtures() / "bytes");
  CHECK(contains(error_of<DataError>([&] { tokenizer->encode("caf\xE9"); }), "offset 3"));
}

}  // namespace kvviz::test
