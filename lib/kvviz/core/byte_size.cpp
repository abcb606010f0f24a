// SPDX-License-Identifier: MIT
#include "kvviz/core/byte_size.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace kvviz {
namespace {

constexpr std::string_view kPrefixes = "KMGTP";

// The unit without its number: "", "b", "gib", "t", ... nullopt: none of ours.
std::optional<double> factor_of(std::string unit) {
  if (!unit.empty() && unit.back() == 'b') unit.pop_back();
  if (unit.empty()) return 1;
  const bool binary = unit.size() == 2 && unit.back() == 'i';
  if (unit.size() > 1 && !binary) return std::nullopt;
  for (size_t i = 0; i < kPrefixes.size(); ++i)
    if (unit.front() == kPrefixes[i] + ('a' - 'A'))
      return std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(i + 1));
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> parse_size(std::string_view text) {
  double number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc()) return std::nullopt;
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c) {
    const bool upper = *c >= 'A' && *c <= 'Z';
    if (*c != ' ') unit += upper ? static_cast<char>(*c + ('a' - 'A')) : *c;
  }
  const auto factor = factor_of(unit);
  if (!factor) return std::nullopt;
  const double bytes = std::round(number * *factor);
  if (!(bytes >= 1 && bytes < std::pow(2.0, 62))) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

std::string size_text(double bytes) {
  std::array<char, 64> text{};
  const auto write = [&](const char* format, double number, const std::string& unit) {
    std::snprintf(text.data(), text.size(), format, number, unit.c_str());
    return std::string(text.data());
  };
  for (size_t i = kPrefixes.size(); i > 0; --i) {
    const double unit = std::pow(1024.0, static_cast<double>(i));
    if (bytes >= unit && bytes < 1024 * unit && std::fmod(bytes, unit) == 0)
      return write("%.0f %s", bytes / unit, std::string(1, kPrefixes[i - 1]) + "iB");
  }
  double number = bytes;
  size_t prefix = 0;
  // 999.5 would be written as 1000 (three digits): the next unit has it as 1.
  for (; number >= 999.5 && prefix < kPrefixes.size(); ++prefix) number /= 1000;
  if (prefix == 0) return write("%.0f %s", number, "B");
  const std::string unit = prefix == 1 ? "kB" : std::string(1, kPrefixes[prefix - 1]) + "B";
  return write("%.3g %s", number, unit);
}

}  // namespace kvviz
