// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/unigram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using Ids = std::vector<int32_t>;

Ids encoded(const Unigram& unigram, std::string_view word) {
  Unigram::Workspace workspace;
  Ids ids;
  unigram.encode(word, workspace, ids);
  return ids;
}

// The definition: the best of all ways to cut the word into pieces.
double best_score(std::string_view word, const UnigramRules& rules) {
  if (word.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (const UnigramRules::Piece& piece : rules.pieces) {
    if (word.starts_with(piece.text)) {
      best = std::max(best, piece.score + best_score(word.substr(piece.text.size()), rules));
    }
  }
  return best;
}

UnigramRules random_rules(std::mt19937& generator) {
  std::uniform_int_distribution<int> letter('a', 'c');
  std::uniform_real_distribution<double> score(-9, -1);
  UnigramRules rules{.pieces = {{"a", score(generator)}, {"b", score(generator)}, {"c", score(generator)}}};
  for (size_t size = 2; size < 6; ++size) {
    for (int i = 0; i < 4; ++i) {
      std::string text(size, ' ');
      for (char& c : text) c = static_cast<char>(letter(generator));
      const bool known = std::any_of(rules.pieces.begin(), rules.pieces.end(),
                                     [&](const UnigramRules::Piece& piece) { return piece.text == text; });
      if (!known) rules.pieces.push_back({text, score(generator)});
    }
  }
  return rules;
}

}  // namespace

TEST_CASE("[unigram] the segmentation has the largest sum of scores") {
  std::mt19937 generator(5);
  std::uniform_int_distribution<int> letter('a', 'c');
  for (int round = 0; round < 100; ++round) {
    const UnigramRules rules = random_rules(generator);
    const Unigram unigram(rules);
    std::string word(1 + static_cast<size_t>(round) % 12, ' ');
    for (char& c : word) c = static_cast<char>(letter(generator));
    CAPTURE(word);
    std::string joined;
    double score = 0;
    for (const int32_t id : encoded(unigram, word)) {
      joined += rules.pieces[static_cast<size_t>(id)].text;
      score += rules.pieces[static_cast<size_t>(id)].score;
    }
    CHECK(joined == word);
    CHECK(score == doctest::Approx(best_score(word, rules)).epsilon(1e-12));
  }
}

TEST_CASE("[unigram] neighbouring unknown characters are one token, or all their bytes") {
  UnigramRules rules{.pieces = {{"<unk>", 0}, {"a", -1}, {"\xC3\xA4", -2}}, .unknown = 0};
  CHECK(encoded(Unigram(rules), "axya") == Ids{1, 0, 1});
  CHECK(encoded(Unigram(rules), "\xC3\xA4\xC3\xA5") == Ids{2, 0});
  CHECK(encoded(Unigram(rules), "") == Ids{});
  for (const size_t byte : {0xC3UL, 0xA5UL}) {
    rules.byte_tokens[byte] = static_cast<int32_t>(rules.pieces.size());
    rules.pieces.push_back({"<byte>", 0});
  }
  CHECK(encoded(Unigram(rules), "a\xC3\xA5") == Ids{1, 3, 4});
  CHECK(encoded(Unigram(rules), "\xC3\xA5x") == Ids{0});  // x has no byte, and the two are one
  rules.unknown = std::nullopt;
  CHECK(contains(error_of<DataError>([&] { encoded(Unigram(rules), "ax"); }), "characters x"));
}

TEST_CASE("[unigram] what does not fit together is refused") {
  const auto error_with = [](const std::string& pointer, const nlohmann::json& value) {
    nlohmann::json description = load_json(fixtures() / "property" / "made" / "unigram" / "tokenizer.json");
    description[nlohmann::json::json_pointer(pointer)] = value;
    const TempFolder folder;
    folder.write_json("tokenizer.json", description);
    return error_of<DataError>([&] { open_tokenizer(folder.path()); });
  };
  CHECK(error_with("/model/unk_id", nullptr) == "");
  CHECK(contains(error_with("/model/unk_id", 100'000), "unk_id 100000"));
  CHECK(contains(error_with("/model/unk_id", -1), "unk_id -1"));
  CHECK(contains(error_with("/model/vocab", nlohmann::json::array()), "list of pieces"));
  CHECK(contains(error_with("/model/vocab/5", {1, 2}), "tokenizer.json"));
  CHECK(contains(error_with("/normalizer", {{"type", "Precompiled"}}), "'Precompiled'"));
}

}  // namespace kvviz::test
