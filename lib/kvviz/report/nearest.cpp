// SPDX-License-Identifier: MIT
#include "kvviz/report/nearest.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace kvviz {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

namespace {

std::string in_small_letters(std::string_view text) {
  std::string small(text);
  for (char& letter : small) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return small;
}

}  // namespace

std::string likely_meant(std::string_view typed, std::span<const std::string> names) {
  const std::string small = in_small_letters(typed);
  std::string meant;
  size_t least = std::max<size_t>(typed.size() / 3, 1) + 1;
  for (const std::string& name : names) {
    const size_t distance = edit_distance(small, in_small_letters(name));
    if (distance >= least) continue;
    least = distance;
    meant = name;
  }
  if (!meant.empty() || typed.size() < 2) return meant;
  const auto begins = [&](const std::string& name) { return in_small_letters(name).starts_with(small); };
  const auto found = std::ranges::find_if(names, begins);
  return found == names.end() ? "" : *found;
}

}  // namespace kvviz
