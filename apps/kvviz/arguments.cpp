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

// Of options that tell shards and attempts of a run apart: the words they take; 0: it is none of them.
int words_of_attempt(const std::string& argument) {
  if (!argument.starts_with("--")) return 0;
  const std::string spelled = option_spelling(argument);
  if (spelled == "--resume") return 1;
  for (const std::string name : {"--shard", "--workers"}) {
    if (spelled == name) return 2;
    if (spelled.starts_with(name + "=")) return 1;
  }
  return 0;
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
    if (const int words = words_of_attempt(argument); words > 0) {
      i += words - 1;
      continue;
    }
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

namespace {

template <class Wanted>
std::vector<std::string> options_that(const CLI::App& command, const Wanted& wanted) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : command.get_options())
    if (!option->get_lnames().empty() && wanted(option->get_group()))
      for (const std::string& value : option->results())
        arguments.push_back("--" + option->get_lnames().front() + '=' + value);
  return arguments;
}

}  // namespace

std::vector<std::string> given_options(const CLI::App& command, std::span<const char* const> left_out) {
  return options_that(command,
                      [&](const std::string& group) { return std::ranges::count(left_out, group) == 0; });
}

std::vector<std::string> typed_options(const CLI::App& command, std::span<const std::string> arguments) {
  std::vector<std::string> typed;
  for (const std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const std::string name = argument.substr(0, argument.find('='));
    const CLI::Option* option = nullptr;
    for (const CLI::App* app = &command; app != nullptr && option == nullptr; app = app->get_parent())
      option = app->get_option_no_throw(name);
    if (option != nullptr) typed.push_back(option->get_name());
  }
  return typed;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent())
    for (const CLI::Option* known : app->get_options())
      for (const std::string& name : known->get_lnames()) names.push_back("--" + name);
  return names;
}

bool is_chosen(const CLI::Option& option, std::span<const std::string> typed) {
  if (option.empty()) return false;
  if (std::ranges::count(typed, option.get_name()) > 0) return true;
  std::string value;
  for (const std::string& one : option.results()) value += (value.empty() ? "" : ",") + one;
  // A flag has no default's text.
  return value != option.get_default_str() && value != "false";
}

std::vector<std::string> chosen_options(const CLI::App& command, std::span<const std::string> typed) {
  std::vector<std::string> chosen;
  for (const CLI::Option* option : command.get_options())
    if (is_chosen(*option, typed)) chosen.push_back(option->get_name());
  return chosen;
}

std::vector<std::string> given_options_of(const CLI::App& command, const char* group) {
  return options_that(command, [&](const std::string& of) { return of == group; });
}

}  // namespace kvviz
