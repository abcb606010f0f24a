// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace kvviz {

/// The start of a text: `length` bytes that are one code point, or a maximal ill-formed part of one
/// (The Unicode Standard, section 3.9, table 3-7 and "U+FFFD substitution of maximal subparts").
struct Utf8Unit {
  size_t length;
  bool valid;
};

/// The first unit of a non-empty text.
Utf8Unit first_unit(std::string_view text);

/// Throws DataError unless `text` is UTF-8 (no surrogates, no overlong forms), naming the first bad byte and
/// its offset. Cost: one pass.
void require_utf8(std::string_view text);

/// What stands for bytes that are not UTF-8.
enum class BadBytes {
  replacement,  ///< U+FFFD for each maximal ill-formed part, as in Rust's from_utf8_lossy and Python's
                ///< "replace"
  hex,          ///< "<0xE4>" for each byte
};

/// `bytes` as UTF-8.
std::string to_utf8(std::string_view bytes, BadBytes bad_bytes);

/// What SentencePiece writes for a space: U+2581.
constexpr std::string_view metaspace = "\xE2\x96\x81";

/// `text` with every `from`, not empty, replaced by `to`.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

/// Whether the text, valid UTF-8, is punctuation or symbols (general categories P and S), with white space
/// around them or not, and at least one of them.
bool is_punctuation(std::string_view text);

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// The normal form (UAX 15) of a valid UTF-8 text, by the Unicode version of utf8proc.
std::string normalized(std::string_view text, NormalForm form);

}  // namespace kvviz
