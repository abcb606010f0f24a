// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/unicode.hpp"

#include <utf8proc.h>

#include <array>

#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

void append(char32_t code, std::string& text) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(size));
}

/// Calls `use(code point, its bytes)` for each code point.
template <class Use>
void for_each_code_point(std::string_view text, const Use& use) {
  while (!text.empty()) {
    const std::string_view unit = text.substr(0, first_unit(text).length);
    use(first_code_point(unit), unit);
    text.remove_prefix(unit.size());
  }
}

}  // namespace

char32_t first_code_point(std::string_view text) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &code);
  return static_cast<char32_t>(code);
}

bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

size_t leading_blanks(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && is_white_space(first_code_point(text.substr(size)))) {
    size += first_unit(text.substr(size)).length;
  }
  return size;
}

size_t trailing_blanks(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t previous = begin - 1;
    while (previous > 0 && (static_cast<unsigned char>(text[previous]) & 0xC0) == 0x80) --previous;
    if (!is_white_space(first_code_point(text.substr(previous)))) break;
    begin = previous;
  }
  return text.size() - begin;
}

std::string lower_case(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for_each_code_point(text, [&](char32_t code, std::string_view) {
    if (code == 0x130) {
      lower += "i\xCC\x87";
    } else {
      append(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))), lower);
    }
  });
  return lower;
}

std::string without_marks(std::string_view text) {
  std::string rest;
  rest.reserve(text.size());
  for_each_code_point(text, [&](char32_t code, std::string_view unit) {
    const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
    const bool mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                      category == UTF8PROC_CATEGORY_ME;
    if (!mark) rest += unit;
  });
  return rest;
}

}  // namespace kvviz
