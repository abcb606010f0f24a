// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/word_rules.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

namespace kvviz {
namespace {

using nlohmann::json;

// Of Llama 3's tokenizer.json, and of Qwen2's, where every digit stands alone.
constexpr const char* llama3_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* qwen2_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Of Mistral Nemo's tokenizer.json.
constexpr const char* tekken_words =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Of BLOOM's tokenizer.json.
constexpr const char* bloom_words = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

json split(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
}

json digits(bool individual) {
  return {{"type", "Digits"}, {"individual_digits", individual}};
}

json sequence(std::initializer_list<json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", json::array_t(steps)}};
}

WordRules gpt2() {
  return {.normalizer = nullptr, .pre_tokenizer = byte_level(true)};
}

WordRules gpt_neox() {
  return {.normalizer = {{"type", "NFC"}}, .pre_tokenizer = byte_level(true)};
}

WordRules llama3() {
  return {.normalizer = nullptr,
          .pre_tokenizer = sequence({split(llama3_words), byte_level(false)}),
          .whole_words = true,
          .adds_bos = true};
}

WordRules qwen2() {
  return {.normalizer = {{"type", "NFC"}},
          .pre_tokenizer = sequence({split(qwen2_words), byte_level(false)})};
}

WordRules tekken() {
  return {.normalizer = nullptr,
          .pre_tokenizer = sequence({split(tekken_words), byte_level(false)}),
          .whole_words = true,
          .adds_bos = true};
}

WordRules smollm() {
  return {.normalizer = nullptr, .pre_tokenizer = sequence({digits(true), byte_level(true)})};
}

WordRules falcon() {
  return {.normalizer = nullptr,
          .pre_tokenizer = sequence({{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                                     byte_level(true),
                                     digits(false),
                                     split("[0-9][0-9][0-9]")})};
}

WordRules bloom() {
  return {.normalizer = nullptr, .pre_tokenizer = sequence({split(bloom_words), byte_level(false)})};
}

WordRules llama_cpp_default() {
  return {.normalizer = nullptr,
          .pre_tokenizer =
              sequence({split(R"([\p{P}$+<=>^~|]+)"),
                        split(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
                        split(R"(\p{N}+)"), split("[0-9][0-9][0-9]"), byte_level(false)})};
}

struct Named {
  std::string_view name;
  WordRules (*rules)();
};

constexpr std::array known = {
    Named{"gpt-2", gpt2},      Named{"phi-2", gpt2},       Named{"mpt", gpt_neox},
    Named{"olmo", gpt_neox},   Named{"llama-bpe", llama3}, Named{"llama3", llama3},
    Named{"llama-v3", llama3}, Named{"qwen2", qwen2},      Named{"deepseek-r1-qwen", qwen2},
    Named{"tekken", tekken},   Named{"smollm", smollm},    Named{"starcoder", smollm},
    Named{"falcon", falcon},   Named{"bloom", bloom},      Named{"default", llama_cpp_default},
};

}  // namespace

std::optional<WordRules> word_rules(std::string_view name) {
  const auto* found =
      std::find_if(known.begin(), known.end(), [&](const Named& n) { return n.name == name; });
  return found == known.end() ? std::nullopt : std::optional(found->rules());
}

std::string word_rule_names() {
  std::string names;
  for (const Named& entry : known) {
    if (!names.empty()) names += ", ";
    names += entry.name;
  }
  return names;
}

}  // namespace kvviz
