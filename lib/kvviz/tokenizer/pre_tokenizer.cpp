// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/pre_tokenizer.hpp"

#include <cassert>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/byte_alphabet.hpp"
#include "kvviz/tokenizer/oniguruma.hpp"
#include "kvviz/tokenizer/regex.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// The regular expression that ByteLevel applies unless "use_regex" is false; it is GPT-2's.
constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// PCRE2 patterns of the kinds that are written without one. Whitespace keeps words as Rust's \w sees them
// (UTS 18, annex C) and runs of what is neither word nor blank.
constexpr const char* digit = R"(\p{N})";
constexpr const char* punctuation = R"([\p{P}!-\/:-@\[-`{-~])";
constexpr const char* blank = R"(\p{White_Space})";
constexpr const char* words_and_marks =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+)";

// What becomes of the matches of a Split, named as in tokenizer.json.
enum class Behaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behaviour behaviour_of(const std::string& name) {
  if (name == "Removed") return Behaviour::removed;
  if (name == "Isolated") return Behaviour::isolated;
  if (name == "MergedWithPrevious") return Behaviour::merged_with_previous;
  if (name == "MergedWithNext") return Behaviour::merged_with_next;
  if (name == "Contiguous") return Behaviour::contiguous;
  throw DataError(cat("[tokenizer] the Split behaviour '", name,
                      "' is not supported; supported: Removed, Isolated, MergedWithPrevious, MergedWithNext, "
                      "Contiguous"));
}

struct Cut {
  ByteRange range;
  bool matches;
};

struct Split {
  Regex regex;
  Behaviour behaviour = Behaviour::isolated;
  bool invert = false;  ///< what does not match counts as the match

  void operator()(Stretch stretch, const PreTokenizer::Sink& sink) const;
};

std::vector<Cut> cuts(const Split& split, std::string_view text) {
  std::vector<Cut> all;
  size_t end = 0;
  for (const ByteRange& match : split.regex.find_all(text)) {
    if (match.begin > end) all.push_back({{end, match.begin}, split.invert});
    all.push_back({match, !split.invert});
    end = match.end;
  }
  if (end < text.size()) all.push_back({{end, text.size()}, split.invert});
  return all;
}

bool joins(const Cut& previous, const Cut& next, Behaviour behaviour) {
  switch (behaviour) {
    case Behaviour::merged_with_previous:
      return next.matches && !previous.matches;
    case Behaviour::merged_with_next:
      return previous.matches && !next.matches;
    case Behaviour::contiguous:
      return previous.matches == next.matches;
    default:
      return false;
  }
}

void Split::operator()(Stretch stretch, const PreTokenizer::Sink& sink) const {
  const std::vector<Cut> parts = cuts(*this, stretch.text);
  for (size_t i = 0; i < parts.size();) {
    size_t last = i;
    while (last + 1 < parts.size() && joins(parts[last], parts[last + 1], behaviour)) ++last;
    if (behaviour != Behaviour::removed || !parts[i].matches) {
      const size_t begin = parts[i].range.begin;
      sink({stretch.text.substr(begin, parts[last].range.end - begin), stretch.first && begin == 0});
    }
    i = last + 1;
  }
}

Regex split_pattern(const json& pattern) {
  if (pattern.contains("Regex")) {
    Regex regex(pcre_from_oniguruma(pattern.at("Regex").get<std::string>()));
    require(!regex.may_be_empty(), "[tokenizer] a Split with the pattern ", pattern.dump(),
            ", which can match nothing, is not supported");
    return regex;
  }
  const auto text = pattern.at("String").get<std::string>();
  require(!text.empty(), "[tokenizer] a Split with an empty pattern");
  return Regex(literal_pattern(text));
}

/// A step that is a Split; none for another kind.
std::optional<Split> split_from(const std::string& type, const json& description) {
  if (type == "Split") {
    return Split{split_pattern(description.at("pattern")),
                 behaviour_of(description.at("behavior").get<std::string>()),
                 description.value("invert", false)};
  }
  if (type == "Digits") {
    const bool individual = description.value("individual_digits", false);
    return Split{Regex(digit), individual ? Behaviour::isolated : Behaviour::contiguous};
  }
  if (type == "Punctuation") {
    return Split{Regex(punctuation), behaviour_of(description.value("behavior", "Isolated"))};
  }
  if (type == "Whitespace") return Split{Regex(words_and_marks), Behaviour::removed, true};
  if (type == "WhitespaceSplit") return Split{Regex(blank), Behaviour::removed};
  return std::nullopt;
}

void prefix_space(Stretch stretch, const PreTokenizer::Sink& sink) {
  if (stretch.text.starts_with(' ')) return sink(stretch);
  sink({cat(' ', stretch.text), stretch.first});
}

void to_byte_characters(Stretch stretch, const PreTokenizer::Sink& sink) {
  sink({byte_characters(stretch.text), stretch.first});
}

enum class Prefix { always, first, never };

Prefix prefix_of(const json& description) {
  const std::string scheme = description.contains("prepend_scheme")
                                 ? description.at("prepend_scheme").get<std::string>()
                                 : (description.value("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") return Prefix::always;
  if (scheme == "first") return Prefix::first;
  require(scheme == "never", "[tokenizer] the Metaspace prepend_scheme '", scheme,
          "' is not supported; supported: always, first, never");
  return Prefix::never;
}

PreTokenizer::Step metaspace_step(Prefix prefix) {
  return [prefix](Stretch stretch, const PreTokenizer::Sink& sink) {
    std::string text = replaced(stretch.text, " ", metaspace);
    const bool wanted = prefix == Prefix::always || (prefix == Prefix::first && stretch.first);
    if (wanted && !text.starts_with(metaspace)) text.insert(0, metaspace);
    sink({text, stretch.first});
  };
}

}  // namespace

PreTokenizer::PreTokenizer(const json& description) {
  add(description);
}

void PreTokenizer::add(const json& description) {
  if (description.is_null()) return;
  const auto type = description.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& part : description.at("pretokenizers")) add(part);
    return;
  }
  std::optional<Split> split = split_from(type, description);
  require(split || type == "ByteLevel" || type == "Metaspace", "[tokenizer] the pre-tokeniser '", type,
          "' is not supported; supported: ByteLevel, Split, Digits, Punctuation, Whitespace, "
          "WhitespaceSplit, Metaspace, Sequence");
  require(split || !byte_level_, "[tokenizer] the pre-tokeniser '", type,
          "' after ByteLevel is not supported");
  if (split) {
    if (byte_level_ && !in_byte_characters_) steps_.emplace_back(to_byte_characters);
    in_byte_characters_ = byte_level_;
    steps_.emplace_back(std::move(*split));
  } else if (type == "ByteLevel") {
    if (description.value("add_prefix_space", true)) steps_.emplace_back(prefix_space);
    if (description.value("use_regex", true))
      steps_.emplace_back(Split{Regex(pcre_from_oniguruma(gpt2_words))});
    byte_level_ = true;
  } else {
    add_metaspace(description);
  }
}

void PreTokenizer::add_metaspace(const json& description) {
  require(description.value("replacement", std::string(metaspace)) == metaspace,
          "[tokenizer] a Metaspace replacement other than U+2581 is not supported");
  const Prefix prefix = prefix_of(description);
  tells_first_ = tells_first_ || prefix == Prefix::first;
  steps_.push_back(metaspace_step(prefix));
  if (description.value("split", true)) {
    steps_.emplace_back(Split{Regex(literal_pattern(metaspace)), Behaviour::merged_with_next});
  }
}

void PreTokenizer::run(size_t step, Stretch stretch, const Sink& word) const {
  if (stretch.text.empty()) return;
  if (step < steps_.size()) {
    return steps_[step](stretch, [&](Stretch part) { run(step + 1, part, word); });
  }
  if (!in_byte_characters_) return word(stretch);
  const std::optional<std::string> bytes = bytes_of(stretch.text);
  assert(bytes);
  word({*bytes, stretch.first});
}

}  // namespace kvviz
