// SPDX-License-Identifier: MIT
#include "kvviz/core/part_name.hpp"

#include <cstdio>
#include <regex>

namespace kvviz {
namespace {

constexpr size_t digits = 5;

// Where "00001-of-00003.gguf" begins.
size_t place_of_number(const std::string& file) {
  return file.size() - std::string("00001-of-00003.gguf").size();
}

std::string named(const std::string& file, int part) {
  std::string number = std::to_string(part);
  number.insert(0, digits - number.size(), '0');
  return std::string(file).replace(place_of_number(file), digits, number);
}

}  // namespace

std::optional<PartNumber> part_number(const std::string& file) {
  static const std::regex ending(R"(-(\d{5})-of-(\d{5})\.gguf$)", std::regex::icase);
  std::smatch found;
  if (!std::regex_search(file, found, ending)) return std::nullopt;
  const PartNumber number{std::stoi(found[1]), std::stoi(found[2])};
  if (number.part < 1 || number.part > number.parts) return std::nullopt;
  return number;
}

std::vector<std::string> all_parts(const std::string& file) {
  const auto number = part_number(file);
  if (!number) return {file};
  std::vector<std::string> names;
  for (int part = 1; part <= number->parts; ++part) names.push_back(named(file, part));
  return names;
}

std::string first_part(const std::string& file) {
  return part_number(file) ? named(file, 1) : file;
}

}  // namespace kvviz
