// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace kvviz {

// Properties of code points and what follows from them for valid UTF-8; Unicode as utf8proc has it.

/// The code point that a text, not empty, starts with.
char32_t first_code_point(std::string_view text);

/// The property White_Space (The Unicode Standard, PropList.txt).
bool is_white_space(char32_t code);

/// White_Space at the start of a text, and at its end, in bytes.
size_t leading_blanks(std::string_view text);
size_t trailing_blanks(std::string_view text);

/// Every code point in lower case by itself, as Rust's char::to_lowercase: no final sigma, and U+0130 becomes
/// two.
std::string lower_case(std::string_view text);

/// The text without marks (general category M).
std::string without_marks(std::string_view text);

}  // namespace kvviz
