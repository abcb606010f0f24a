// SPDX-License-Identifier: MIT
#pragma once
#include <string_view>

namespace kvviz {

/// A text file's contents without the UTF-8 byte order mark that some editors put first.
inline std::string_view without_mark(std::string_view text) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

}  // namespace kvviz
