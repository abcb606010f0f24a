// SPDX-License-Identifier: MIT
#pragma once
#include <string_view>

namespace kvviz {

/// The text without spaces, tabs and ends of lines at its start and end; a view of it.
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const size_t first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

}  // namespace kvviz
