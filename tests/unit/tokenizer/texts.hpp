// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

// The texts of scripts/fixtures/tokenizer_texts.py, which specifies all of this.

namespace kvviz::test {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t state) : state_(state) {}

  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t count) { return next() % count; }

 private:
  uint64_t state_;
};

/// FNV-1a of 64 bits.
class Fnv {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) value_ = (value_ ^ static_cast<uint8_t>(c)) * 0x100000001B3ULL;
  }
  void add(uint32_t number) {
    const std::array<char, 4> bytes = {static_cast<char>(number), static_cast<char>(number >> 8),
                                       static_cast<char>(number >> 16), static_cast<char>(number >> 24)};
    add(std::string_view(bytes.data(), bytes.size()));
  }
  std::string hex() const {
    std::string text(16, '0');
    for (size_t i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[value_ >> (60 - 4 * i) & 15];
    return text;
  }

 private:
  uint64_t value_ = 0xCBF29CE484222325ULL;
};

inline std::string utf8_of(uint64_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

struct TextPool {
  std::vector<std::string> texts;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  uint64_t size = 0;

  explicit TextPool(const nlohmann::json& description) {
    if (description.contains("texts")) {
      texts = description.at("texts").get<std::vector<std::string>>();
      size = texts.size();
      return;
    }
    ranges = description.at("ranges").get<std::vector<std::pair<uint64_t, uint64_t>>>();
    for (const auto& [first, last] : ranges) size += last - first + 1;
  }

  std::string item(SplitMix64& generator) const {
    uint64_t place = generator.below(size);
    if (!texts.empty()) return texts[place];
    for (const auto& [first, last] : ranges) {
      if (place <= last - first) return utf8_of(first + place);
      place -= last - first + 1;
    }
    return {};
  }
};

inline std::string drawn_text(SplitMix64 generator, const std::vector<TextPool>& pools) {
  std::string text;
  const uint64_t parts = 1 + generator.below(12);
  for (uint64_t part = 0; part < parts; ++part) {
    const TextPool& pool = pools[generator.below(pools.size())];
    if (generator.below(16) == 0) {
      const std::string item = pool.item(generator);
      for (uint64_t times = 2 + generator.below(40); times > 0; --times) text += item;
    } else {
      for (uint64_t count = 1 + generator.below(4); count > 0; --count) text += pool.item(generator);
    }
  }
  return text;
}

/// All texts of property/texts.json.
inline std::vector<std::string> drawn_texts(const nlohmann::json& description) {
  std::vector<TextPool> pools;
  for (const nlohmann::json& pool : description.at("pools")) pools.emplace_back(pool);
  const auto seed = description.at("seed").get<uint64_t>();
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < description.at("count"); ++i) {
    texts.push_back(drawn_text(SplitMix64(seed + (i << 32)), pools));
  }
  return texts;
}

}  // namespace kvviz::test
