// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/text_steps.hpp"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/oniguruma.hpp"
#include "kvviz/tokenizer/regex.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// The regular expression that ByteLevel applies unless "use_regex" is false; it is GPT-2's.
constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::optional<NormalForm> normal_form(std::string_view type) {
  if (type == "NFC") return NormalForm::nfc;
  if (type == "NFD") return NormalForm::nfd;
  if (type == "NFKC") return NormalForm::nfkc;
  if (type == "NFKD") return NormalForm::nfkd;
  return std::nullopt;
}

std::string literal_of(const json& pattern, std::string_view owner) {
  require(pattern.contains("String"), "[tokenizer] ", owner, " with the pattern ", pattern.dump(),
          " is not supported; supported: a String");
  auto text = pattern.at("String").get<std::string>();
  require(!text.empty(), "[tokenizer] ", owner, " with an empty pattern");
  return text;
}

// What becomes of the matches of a Split, named as in tokenizer.json.
enum class Behaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behaviour behaviour_of(const std::string& name) {
  if (name == "Removed") return Behaviour::removed;
  if (name == "Isolated") return Behaviour::isolated;
  if (name == "MergedWithPrevious") return Behaviour::merged_with_previous;
  if (name == "MergedWithNext") return Behaviour::merged_with_next;
  if (name == "Contiguous") return Behaviour::contiguous;
  throw DataError(cat("[tokenizer] the Split behaviour '", name, "' is not supported"));
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

Split split_from(const json& description) {
  const json& pattern = description.at("pattern");
  const std::string regex = pattern.contains("Regex")
                                ? pcre_from_oniguruma(pattern.at("Regex").get<std::string>())
                                : literal_pattern(literal_of(pattern, "a Split"));
  return {Regex(regex), behaviour_of(description.at("behavior").get<std::string>()),
          description.value("invert", false)};
}

void prefix_space(Stretch stretch, const PreTokenizer::Sink& sink) {
  if (stretch.text.starts_with(' ')) return sink(stretch);
  sink({cat(' ', stretch.text), stretch.first});
}

enum class Prefix { always, first, never };

Prefix prefix_of(const json& description) {
  const std::string scheme = description.contains("prepend_scheme")
                                 ? description.at("prepend_scheme").get<std::string>()
                                 : (description.value("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") return Prefix::always;
  if (scheme == "first") return Prefix::first;
  require(scheme == "never", "[tokenizer] the Metaspace prepend_scheme '", scheme, "' is not supported");
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

Normalizer::Normalizer(const json& description) {
  add(description);
}

void Normalizer::add(const json& description) {
  if (description.is_null()) return;
  const auto type = description.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& part : description.at("normalizers")) add(part);
  } else if (const std::optional<NormalForm> form = normal_form(type)) {
    steps_.emplace_back([form](const std::string& text) { return normalized(text, *form); });
  } else if (type == "Prepend") {
    steps_.emplace_back([prefix = description.at("prepend").get<std::string>()](std::string text) {
      return text.empty() ? text : prefix + text;
    });
  } else if (type == "Replace") {
    steps_.emplace_back([from = literal_of(description.at("pattern"), "a Replace"),
                         to = description.at("content").get<std::string>()](const std::string& text) {
      return replaced(text, from, to);
    });
  } else {
    throw DataError(cat("[tokenizer] the normalizer '", type,
                        "' is not supported; supported: NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence"));
  }
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result(text);
  for (const Step& step : steps_) result = step(std::move(result));
  return result;
}

PreTokenizer::PreTokenizer(const json& description) {
  add(description);
}

void PreTokenizer::add(const json& description) {
  if (description.is_null()) return;
  const auto type = description.at("type").get<std::string>();
  require(!byte_level_, "[tokenizer] the pre-tokeniser '", type, "' after ByteLevel is not supported");
  if (type == "Sequence") {
    for (const json& part : description.at("pretokenizers")) add(part);
  } else if (type == "ByteLevel") {
    if (description.value("add_prefix_space", true)) steps_.emplace_back(prefix_space);
    if (description.value("use_regex", true))
      steps_.emplace_back(Split{Regex(pcre_from_oniguruma(gpt2_words))});
    byte_level_ = true;
  } else if (type == "Split") {
    steps_.emplace_back(split_from(description));
  } else if (type == "Digits") {
    const bool individual = description.value("individual_digits", false);
    steps_.emplace_back(Split{Regex("\\p{N}"), individual ? Behaviour::isolated : Behaviour::contiguous});
  } else if (type == "Metaspace") {
    require(description.value("replacement", std::string(metaspace)) == metaspace,
            "[tokenizer] a Metaspace replacement other than U+2581 is not supported");
    steps_.push_back(metaspace_step(prefix_of(description)));
    if (description.value("split", true)) {
      steps_.emplace_back(Split{Regex(literal_pattern(metaspace)), Behaviour::merged_with_next});
    }
  } else {
    throw DataError(cat("[tokenizer] the pre-tokeniser '", type,
                        "' is not supported; supported: ByteLevel, Split, Digits, Metaspace, Sequence"));
  }
}

void PreTokenizer::run(size_t step, Stretch stretch, const Sink& word) const {
  if (stretch.text.empty()) return;
  if (step == steps_.size()) return word(stretch);
  steps_[step](stretch, [&](Stretch part) { run(step + 1, part, word); });
}

}  // namespace kvviz
