// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/text_steps.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

Texts words(const char* description, std::string_view text) {
  Texts found;
  PreTokenizer{json::parse(description)}({text, true}, [&](Stretch word) { found.emplace_back(word.text); });
  return found;
}

std::string split(const char* behaviour, const char* invert = "false") {
  return std::string(R"({"type":"Split","pattern":{"String":"-"},"behavior":")") + behaviour +
         R"(","invert":)" + invert + "}";
}

}  // namespace

TEST_CASE("[text steps] what becomes of the matches of a Split") {
  const std::string_view text = "the-final--countdown";
  CHECK(words(split("Removed").c_str(), text) == Texts{"the", "final", "countdown"});
  CHECK(words(split("Removed", "true").c_str(), text) == Texts{"-", "-", "-"});
  CHECK(words(split("Isolated").c_str(), text) == Texts{"the", "-", "final", "-", "-", "countdown"});
  CHECK(words(split("MergedWithPrevious").c_str(), text) == Texts{"the-", "final-", "-", "countdown"});
  CHECK(words(split("MergedWithNext").c_str(), text) == Texts{"the", "-final", "-", "-countdown"});
  CHECK(words(split("Contiguous").c_str(), text) == Texts{"the", "-", "final", "--", "countdown"});
}

TEST_CASE("[text steps] GPT-2's words") {
  CHECK(words(R"({"type":"ByteLevel","add_prefix_space":true})", "It's  2 x") ==
        Texts{" It", "'s", " ", " 2", " x"});
  CHECK(words(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b") == Texts{"a b"});
}

TEST_CASE("[text steps] Metaspace") {
  CHECK(words(R"({"type":"Metaspace","prepend_scheme":"first","split":true})", "a b") == Texts{"\xE2\x96\x81"
                                                                                               "a",
                                                                                               "\xE2\x96\x81"
                                                                                               "b"});
  CHECK(words(R"({"type":"Metaspace","prepend_scheme":"never","split":false})", "a b") ==
        Texts{"a\xE2\x96\x81"
              "b"});
}

TEST_CASE("[text steps] normalisers in sequence") {
  const Normalizer normalizer(json::parse(R"({"type":"Sequence","normalizers":[{"type":"NFC"},
      {"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":"ab"},"content":"b"}]})"));
  CHECK(normalizer("aabe\xCC\x81") == "_ab\xC3\xA9");
  CHECK(normalizer("") == "");
}

TEST_CASE("[text steps] kinds that are not supported are named") {
  const auto pre_tokenizer = [](const char* description) {
    return error_of<DataError>([&] { PreTokenizer{json::parse(description)}; });
  };
  CHECK(contains(pre_tokenizer(R"({"type":"BertPreTokenizer"})"), "'BertPreTokenizer' is not supported"));
  CHECK(contains(
      pre_tokenizer(R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})"),
      "'Digits' after ByteLevel"));
  CHECK(contains(pre_tokenizer(split("Sideways").c_str()), "'Sideways'"));
  CHECK(contains(error_of<DataError>([] { Normalizer{json::parse(R"({"type":"Lowercase"})")}; }),
                 "'Lowercase'"));
  CHECK(contains(error_of<DataError>([] {
                   Normalizer{json::parse(R"({"type":"Replace","pattern":{"Regex":"a"},"content":"b"})")};
                 }),
                 "supported: a String"));
}

}  // namespace kvviz::test
