// SPDX-License-Identifier: MIT
#include "kvviz/arguments.hpp"

#include <algorithm>

#include "kvviz/command.hpp"

namespace kvviz {
namespace {

std::string option_spelling(std::string argument) {
  const auto name_end = std::find(argument.begin(), argument.end(), '=');
  std::replace(argument.begin(), name_end, '_', '-');
  return argument;
}

// The name of the command that `argument` spells, or nullptr.
const char* command_named(std::string argument) {
  std::replace(argument.begin(), argument.end(), '-', '_');
  for (const Command& command : commands())
    if (argument == command.name) return command.name;
  return nullptr;
}

}  // namespace

std::vector<std::string> normalised(int argc, char** argv) {
  std::vector<std::string> arguments;
  bool options_end = false, command_seen = false;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    options_end = options_end || argument == "--";
    if (!options_end && argument.starts_with("--")) {
      argument = option_spelling(std::move(argument));
    } else if (const char* name = command_seen ? nullptr : command_named(argument)) {
      argument = name;
      command_seen = true;
    }
    arguments.push_back(std::move(argument));
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

std::string as_typed(int argc, char** argv) {
  std::string line = "kvviz";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool plain =
        !argument.empty() &&
        argument.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./,:@+%") == std::string::npos;
    line += ' ';
    if (plain) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

}  // namespace kvviz
