// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/byte_alphabet.hpp"

#include <array>
#include <cstdint>

namespace kvviz {
namespace {

constexpr uint16_t most_code = 0x143;

struct Alphabet {
  std::array<uint16_t, 256> code{};
  std::array<int16_t, most_code + 1> byte{};

  constexpr Alphabet() {
    for (int16_t& b : byte) b = -1;
    uint16_t next = 0x100;
    for (uint16_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
      code[b] = printable ? b : next++;
      byte[code[b]] = static_cast<int16_t>(b);
    }
  }
};

constexpr Alphabet alphabet;

}  // namespace

std::string byte_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) {
    const uint16_t code = alphabet.code[static_cast<uint8_t>(c)];
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else {
      out += static_cast<char>(0xC0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  return out;
}

std::optional<std::string> bytes_of(std::string_view characters) {
  std::string out;
  out.reserve(characters.size());
  for (size_t i = 0; i < characters.size(); ++i) {
    unsigned code = static_cast<uint8_t>(characters[i]);
    if (code >= 0x80) {
      if (code >= 0xE0 || i + 1 == characters.size()) return std::nullopt;
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(characters[++i]) & 0x3F);
    }
    if (code > most_code || alphabet.byte[code] < 0) return std::nullopt;
    out += static_cast<char>(alphabet.byte[code]);
  }
  return out;
}

}  // namespace kvviz
