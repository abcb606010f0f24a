// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace kvviz {

/// GPT-2 writes each byte of a text as a printable character: itself where it is one in Latin-1, else U+0100
/// and up in order ("bytes_to_unicode"). `bytes` need not be UTF-8.
std::string byte_characters(std::string_view bytes);

/// The bytes that such characters stand for; none when one of them stands for no byte. `characters` must be
/// valid UTF-8.
std::optional<std::string> bytes_of(std::string_view characters);

}  // namespace kvviz
