// SPDX-License-Identifier: MIT
#include "kvviz/option_values.hpp"

#include <algorithm>
#include <sstream>

namespace kvviz {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

ValueKind kind_of(const std::string& word) {
  if (word == "FILE") return ValueKind::file;
  if (word == "DIR") return ValueKind::folder;
  if (word == "MODEL") return ValueKind::model;
  if (word == "ID") return ValueKind::cached_model;
  return ValueKind::other;
}

}  // namespace

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// "TEXT:{auto,on,off}", "INT:0..", "TEXT:FILE".
OptionValues values_of(const CLI::Option& option) {
  OptionValues values;
  if (!takes_value(option)) return values;
  std::string type = option.get_type_name();
  if (const size_t open = type.find('{'); open != std::string::npos) {
    values.names = split(type.substr(open + 1, type.find('}', open) - open - 1), ',');
    type.resize(open);
  }
  for (const std::string& word : split(type, ':')) {
    const ValueKind kind = kind_of(word);
    if (values.placeholder.empty() || kind != ValueKind::other) values.placeholder = word;
    if (kind != ValueKind::other) values.kind = kind;
  }
  values.list = option.get_delimiter() == ',';
  return values;
}

std::vector<const CLI::App*> subcommands(const CLI::App& command) {
  std::vector<const CLI::App*> visible;
  for (const CLI::App* sub : command.get_subcommands({}))
    if (!sub->get_group().empty()) visible.push_back(sub);
  return visible;
}

std::string command_path(const CLI::App& command, char separator) {
  const CLI::App* parent = command.get_parent();
  const std::string before = parent == nullptr ? "" : command_path(*parent, separator) + separator;
  return before + command.get_name();
}

}  // namespace kvviz
