// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/utf8.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

uint8_t byte_at(std::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

std::string hex(uint8_t byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

// The second byte's range is what excludes overlong forms, surrogates and code points above U+10FFFF.
struct Lead {
  size_t length;
  uint8_t low;
  uint8_t high;
};

Lead lead(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {1, 1, 0};
}

}  // namespace

Utf8Unit first_unit(std::string_view text) {
  const uint8_t first = byte_at(text, 0);
  if (first < 0x80) return {1, true};
  const Lead want = lead(first);
  if (text.size() < 2 || byte_at(text, 1) < want.low || byte_at(text, 1) > want.high) return {1, false};
  size_t length = 2;
  while (length < want.length && length < text.size() && (byte_at(text, length) & 0xC0) == 0x80) ++length;
  return {length, length == want.length};
}

void require_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Unit unit = first_unit(text.substr(i));
    if (!unit.valid) {
      throw DataError(cat("[tokenizer] the text is not valid UTF-8: byte ", hex(byte_at(text, i)),
                          " at offset ", i, " of ", text.size(), " bytes; convert the text to UTF-8"));
    }
    i += unit.length;
  }
}

std::string to_utf8(std::string_view bytes, BadBytes bad_bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Unit unit = first_unit(bytes);
    if (unit.valid) {
      text += bytes.substr(0, unit.length);
    } else if (bad_bytes == BadBytes::replacement) {
      text += "\xEF\xBF\xBD";
    } else {
      for (size_t i = 0; i < unit.length; ++i) text += hex(byte_at(bytes, i));
    }
    bytes.remove_prefix(unit.length);
  }
  return text;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const size_t at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

bool is_punctuation(std::string_view text) {
  bool found = false;
  while (!text.empty()) {
    utf8proc_int32_t code = -1;
    const utf8proc_ssize_t size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                                   static_cast<utf8proc_ssize_t>(text.size()), &code);
    if (size <= 0) return false;
    text.remove_prefix(static_cast<size_t>(size));
    if (code == ' ' || code == '\t' || code == '\n' || code == '\r') continue;
    const utf8proc_category_t category = utf8proc_category(code);
    if (category < UTF8PROC_CATEGORY_PC || category > UTF8PROC_CATEGORY_SO) return false;
    found = true;
  }
  return found;
}

std::string normalized(std::string_view text, NormalForm form) {
  if (ascii(text)) return std::string(text);
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const int options = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                      (compatible ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  require(size >= 0, "[tokenizer] the text cannot be normalised: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)};
}

}  // namespace kvviz
