// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/normalizer.hpp"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/oniguruma.hpp"
#include "kvviz/tokenizer/regex.hpp"
#include "kvviz/tokenizer/unicode.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

std::optional<NormalForm> normal_form(std::string_view type) {
  if (type == "NFC") return NormalForm::nfc;
  if (type == "NFD") return NormalForm::nfd;
  if (type == "NFKC") return NormalForm::nfkc;
  if (type == "NFKD") return NormalForm::nfkd;
  return std::nullopt;
}

std::string replaced(std::string_view text, const Regex& from, std::string_view to) {
  std::string out;
  size_t end = 0;
  for (const ByteRange& match : from.find_all(text)) {
    out += text.substr(end, match.begin - end);
    out += to;
    end = match.end;
  }
  out += text.substr(end);
  return out;
}

Normalizer::Step replace_step(const json& description) {
  const json& pattern = description.at("pattern");
  auto to = description.at("content").get<std::string>();
  if (pattern.contains("Regex")) {
    Regex from(pcre_from_oniguruma(pattern.at("Regex").get<std::string>()));
    require(!from.may_be_empty(), "[tokenizer] a Replace with the pattern ", pattern.dump(),
            ", which can match nothing, is not supported");
    return [from, to = std::move(to)](const std::string& text) { return replaced(text, from, to); };
  }
  auto from = pattern.at("String").get<std::string>();
  require(!from.empty(), "[tokenizer] a Replace with an empty pattern");
  return [from = std::move(from), to = std::move(to)](const std::string& text) {
    return kvviz::replaced(text, from, to);
  };
}

Normalizer::Step strip_step(bool left, bool right) {
  return [left, right](std::string text) {
    if (right) text.resize(text.size() - trailing_blanks(text));
    if (left) text.erase(0, leading_blanks(text));
    return text;
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
  } else if (type == "Lowercase") {
    steps_.emplace_back([](const std::string& text) { return lower_case(text); });
  } else if (type == "StripAccents") {
    steps_.emplace_back([](const std::string& text) { return without_marks(text); });
  } else if (type == "Strip") {
    const bool left = description.value("strip_left", true);
    steps_.push_back(strip_step(left, description.value("strip_right", true)));
    strips_start_ = strips_start_ || left;
  } else if (type == "Prepend") {
    steps_.emplace_back([prefix = description.at("prepend").get<std::string>()](std::string text) {
      return text.empty() ? text : prefix + text;
    });
  } else if (type == "Replace") {
    steps_.push_back(replace_step(description));
  } else {
    throw DataError(
        cat("[tokenizer] the normalizer '", type,
            "' is not supported; supported: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, "
            "Prepend, Replace, Sequence",
            type == "Precompiled" ? "; the model's SentencePiece file (tokenizer.model), alone in a "
                                    "folder, is read with its own normalisation"
                                  : ""));
  }
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result(text);
  for (const Step& step : steps_) result = step(std::move(result));
  return result;
}

}  // namespace kvviz
