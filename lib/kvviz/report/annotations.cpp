// SPDX-License-Identifier: MIT
#include "kvviz/report/annotations.hpp"

#include <string_view>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

constexpr std::string_view in_message = "%\r\n", in_title = "%\r\n:,";

std::string escaped(std::string_view text, std::string_view special) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (special.find(c) == std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', digits[byte >> 4], digits[byte & 15]};
  }
  return out;
}

}  // namespace

std::string github_annotations(const CheckReport& report) {
  std::string lines;
  for (const Check& check : report.checks) {
    if (check.verdict == Verdict::passed) continue;
    const std::string title = cat("kvviz ", report.command, ": ", check.name);
    const std::string message = check.message + (check.details.empty() ? "" : '\n' + check.details);
    lines += cat("::error title=", escaped(title, in_title), "::", escaped(message, in_message), '\n');
  }
  return lines;
}

}  // namespace kvviz
