// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/tokenizer_config.hpp"

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/json_depth.hpp"
#include "kvviz/core/json_number.hpp"
#include "kvviz/core/sha256.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// A token is written as "<s>" or as {"content": "<s>", ...}.
std::optional<std::string> token_text(const json& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  const json& value = object.at(key);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content")) return value.at("content").get<std::string>();
  return std::nullopt;
}

std::optional<int32_t> end_id(const json& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  const json& value = object.at(key);
  const json& first = value.is_array() && !value.empty() ? value.front() : value;
  return first.is_number_unsigned() ? std::optional(token_id(first, key)) : std::nullopt;
}

int32_t parse_id(const std::string& digits) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
  require(error == std::errc{} && end == digits.data() + digits.size(), "[tokenizer] '", digits,
          "' in added_tokens_decoder is not a token id");
  return id;
}

std::string without_suffix(std::string text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
  return text;
}

template <class T>
void keep_first(std::optional<T>& known, std::optional<T> found) {
  if (!known) known = std::move(found);
}

void collect_special_names(const json& object, std::set<std::string>& names) {
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
    if (auto name = token_text(object, key)) names.insert(*name);
  }
  for (const json& token : object.value("additional_special_tokens", json::array())) {
    if (token.is_string()) names.insert(token.get<std::string>());
    if (token.is_object()) names.insert(token.at("content").get<std::string>());
  }
}

void read_class(const json& object, TokenizerConfig& config) {
  if (object.contains("tokenizer_class") && object.at("tokenizer_class").is_string()) {
    config.tokenizer_class = without_suffix(object.at("tokenizer_class").get<std::string>(), "Fast");
  }
  if (object.contains("add_bos_token") && object.at("add_bos_token").is_boolean()) {
    config.adds_bos = object.at("add_bos_token").get<bool>();
  }
  if (object.contains("add_prefix_space") && object.at("add_prefix_space").is_boolean()) {
    config.adds_prefix_space = object.at("add_prefix_space").get<bool>();
  }
  if (object.contains("legacy") && object.at("legacy").is_boolean())
    config.legacy = object.at("legacy").get<bool>();
  if (object.contains("added_tokens_decoder")) {
    for (const auto& [id, entry] : object.at("added_tokens_decoder").items()) {
      config.added.push_back(added_token(parse_id(id), entry));
    }
  }
}

void read_added_tokens(const json& object, const std::set<std::string>& special, TokenizerConfig& config) {
  for (const auto& [text, id] : object.items()) {
    const auto known = [&, &t = text](const AddedToken& token) { return token.text == t; };
    if (std::any_of(config.added.begin(), config.added.end(), known)) continue;
    const bool marks = special.contains(text);
    config.added.push_back({.id = token_id(id, text), .text = text, .special = marks, .normalized = !marks});
  }
}

}  // namespace

std::string hash_of(std::vector<std::filesystem::path> files, const TokenizerConfig& config) {
  files.insert(files.end(), config.files.begin(), config.files.end());
  return sha256_files(files);
}

void check_token_id(int64_t id, std::string_view token) {
  require(id >= 0 && id < most_tokens, "[tokenizer] the token '", token, "' has the id ", id,
          ", expected 0 to ", most_tokens - 1);
}

int32_t token_id(const json& value, std::string_view token) {
  const auto id = whole_number(value);
  require(id.has_value(), "[tokenizer] the token '", token, "' has the id ", value.dump(),
          ", expected an integer");
  check_token_id(*id, token);
  return static_cast<int32_t>(*id);
}

json parse_json(std::string_view text) {
  constexpr int deepest = 64;
  require(json_depth(text) <= deepest, "brackets stand in more than ", deepest, " others");
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw DataError(error.what());
  }
}

json read_json(const std::filesystem::path& file) {
  try {
    return parse_json(read_file(file));
  } catch (const DataError& error) {
    throw DataError(cat("[tokenizer] ", file.string(), " is not valid JSON: ", error.what()));
  }
}

AddedToken added_token(int32_t id, const json& entry) {
  AddedToken token{.id = id, .text = entry.at("content").get<std::string>()};
  token.special = entry.value("special", false);
  token.normalized = entry.value("normalized", !token.special);
  token.lstrip = entry.value("lstrip", false);
  token.rstrip = entry.value("rstrip", false);
  token.single_word = entry.value("single_word", false);
  return token;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder) {
  TokenizerConfig config;
  std::set<std::string> special;
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"}) {
    const std::filesystem::path file = folder / name;
    if (!std::filesystem::exists(file)) continue;
    const json object = read_json(file);
    try {
      require(object.is_object(), "an object is expected");
      if (name == std::string_view("config.json")) {
        if (const auto type = object.find("model_type"); type != object.end() && !type->is_null())
          config.model_type = type->get<std::string>();
        config.bos_id = end_id(object, "bos_token_id");
        config.eos_id = end_id(object, "eos_token_id");
        continue;
      }
      config.files.push_back(file);
      if (name == std::string_view("added_tokens.json")) {
        read_added_tokens(object, special, config);
        continue;
      }
      if (name == std::string_view("tokenizer_config.json")) read_class(object, config);
      keep_first(config.bos, token_text(object, "bos_token"));
      keep_first(config.eos, token_text(object, "eos_token"));
      collect_special_names(object, special);
    } catch (const std::exception& error) {
      throw DataError(cat("[tokenizer] ", file.string(), ": ", error.what()));
    }
  }
  return config;
}

SequenceEnds sequence_ends(const TokenizerConfig& config, const SequenceEnds& defaults,
                           const std::function<std::optional<int32_t>(const std::string&)>& id_of) {
  const auto resolve = [&](const std::optional<std::string>& name, std::optional<int32_t> own,
                           std::optional<int32_t> configured) {
    std::optional<int32_t> id = name ? id_of(*name) : std::nullopt;
    keep_first(id, own);
    keep_first(id, configured);
    return id;
  };
  SequenceEnds ends{.bos = resolve(config.bos, defaults.bos, config.bos_id),
                    .eos = resolve(config.eos, defaults.eos, config.eos_id)};
  require(config.adds_bos != true || ends.bos.has_value(),
          "[tokenizer] tokenizer_config.json has add_bos_token, but no BOS token is named that the "
          "vocabulary has");
  ends.adds_bos = config.adds_bos.value_or(defaults.adds_bos) && ends.bos.has_value();
  return ends;
}

}  // namespace kvviz
