// SPDX-License-Identifier: MIT
#include "kvviz/mistakes.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <vector>

#include "kvviz/arguments.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/option_values.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

bool is_option(const std::string& argument) {
  return argument.starts_with("-");
}

// "a, b and c".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return text;
}

// "models pull" of `kvviz models pull`; `separator` stands between.
std::string name_of(const CLI::App& command, char separator) {
  const std::string path = command_path(command, separator);
  const size_t first = path.find(separator);
  return first == std::string::npos ? "" : path.substr(first + 1);
}

// The commands below `app` that have an option of their own.
std::vector<std::string> takers_of(const std::string& option, const CLI::App& app) {
  std::vector<std::string> takers;
  for (const CLI::App* command : subcommands(app)) {
    if (command->get_option_no_throw(option) != nullptr) takers.push_back(name_of(*command, ' '));
    const auto below = takers_of(option, *command);
    takers.insert(takers.end(), below.begin(), below.end());
  }
  return takers;
}

// What to say of an option, behind "got --cache a.h5".
std::string of_option(const std::string& option, const CLI::App& command, const CLI::App& app) {
  const auto takers = takers_of(option, app);
  if (&command == &app && !takers.empty())
    return cat(", which goes after a command that takes it: ", listed(takers));
  if (&command == &app && (option == "-V" || option == "-v"))
    return ", which nothing takes; did you mean --version?";
  if (command.get_option_no_throw(option) != nullptr)
    return cat(", which stands before the command; ", option, " goes after ", command.get_name());
  const std::string own = name_of(command, ' ');
  if (!takers.empty())
    return cat(", which ", own, " does not take; ", listed(takers), takers.size() == 1 ? " does" : " do");
  const std::string meant = likely_meant(option, option_names(command));
  return cat(", which nothing takes", meant.empty() ? "" : cat("; did you mean ", meant, "?"));
}

std::string of_word(const std::string& word, const CLI::App& command) {
  std::error_code ignored;
  const bool text = command.get_option_no_throw("--prompt-file") != nullptr;
  return cat(", which nothing takes", text && std::filesystem::is_regular_file(word, ignored)
                                          ? cat("; a text file is read by --prompt-file ", word)
                                          : "");
}

// What to say of arguments that nothing takes. CLI11 has them in an order of its own; `given` is the user's.
std::string unexpected(const CLI::App& app, std::span<const std::string> given) {
  std::vector<std::string> extras = app.remaining(true), ordered;
  for (const std::string& argument : given) {
    const auto extra = std::ranges::find(extras, argument);
    if (extra == extras.end()) continue;
    ordered.push_back(argument);
    extras.erase(extra);
  }
  const CLI::App& chosen = innermost(app);
  const auto word = std::ranges::find_if_not(ordered, is_option);
  const bool takes_command =
      &chosen == &app || (!chosen.get_subcommands({}).empty() && word == ordered.begin());
  if (takes_command && word != ordered.end()) return unknown_command(*word, chosen);
  std::string text = "got";
  for (const std::string& argument : ordered) text += ' ' + argument;
  const auto option = std::ranges::find_if(ordered, is_option);
  text += option != ordered.end() ? of_option(option->substr(0, option->find('=')), chosen, app)
                                  : of_word(ordered.front(), chosen);
  return &chosen == &app ? text : cat(text, "; options: ", command_path(chosen, ' '), " --help");
}

// What to say of a key that `command`, whose section it stands in, does not take.
std::string unknown_key(const std::string& key, const CLI::App& command) {
  const std::string section = name_of(command, '.');
  const std::string place = section.empty() ? "" : cat(" (in [", section, "])");
  if (key.find(' ') != std::string::npos) return cat("got '", key, "', expected KEY = VALUE", place);
  const auto takers = section.empty() ? takers_of("--" + key, command) : std::vector<std::string>();
  if (!takers.empty())
    return cat("key ", key, " stands in no section; it goes below that of its command, as in [",
               takers.front(), "]");
  const std::string meant = likely_meant("--" + key, option_names(command));
  return cat("unknown key ", key, meant.empty() ? "" : cat("; did you mean ", meant.substr(2), "?"), place);
}

// The same of "analyze.foo", or "analyse.++" of a section.
std::string unknown_path(const std::string& path, const CLI::App& command) {
  const size_t dot = path.find('.');
  if (dot == std::string::npos || path.find(' ') < dot) return unknown_key(path, command);
  const std::string section = path.substr(0, dot);
  std::vector<std::string> sections;
  for (const CLI::App* sub : command.get_subcommands({})) {
    sections.push_back(sub->get_name());
    if (sections.back() == section) return unknown_path(path.substr(dot + 1), *sub);
  }
  const std::string meant = likely_meant(section, sections);
  return cat("unknown section [", section, "]", meant.empty() ? "" : cat("; did you mean [", meant, "]?"));
}

std::string config_error(const std::string& message, const CLI::App& app) {
  constexpr std::string_view nothing_takes = "INI was not able to parse ";
  return message.starts_with(nothing_takes) ? unknown_path(message.substr(nothing_takes.size()), app)
                                            : message;
}

// The configuration's name, where a message is of an option that the command line does not give.
std::string place_of(const std::string& message, const CLI::App& app, std::span<const std::string> typed) {
  const size_t begin = message.find("--");
  if (app.get_config_ptr()->count() == 0 || begin == std::string::npos) return "";
  const std::string option = message.substr(begin, message.find_first_of(" :,=", begin) - begin);
  return std::ranges::count(typed, option) > 0 ? "" : app.get_config_ptr()->as<std::string>() + ": ";
}

// The option whose name a message begins with, behind `before`; nullptr: none.
const CLI::Option* option_of(const std::string& message, const CLI::App& command,
                             std::string_view before = "") {
  if (!message.starts_with(before)) return nullptr;
  const size_t begin = before.size(), end = message.find_first_of(": ", begin);
  const std::string name = message.substr(begin, end - begin);
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent())
    if (const CLI::Option* option = app->get_option_no_throw(name)) return option;
  return nullptr;
}

// What stands for an argument without a name in an example.
struct Example {
  const char* command;
  const char* words;
};
constexpr Example examples[] = {{"kvviz models search", "qwen 0.5b"},
                                {"kvviz models pull", "Qwen/Qwen2.5-0.5B"},
                                {"kvviz models rm", "Qwen/Qwen2.5-0.5B"},
                                {"kvviz merge", "results/*.records"},
                                {"kvviz compare", "before/results/sinks.json after/results/sinks.json"}};

std::string expected(const CLI::Option& option, const CLI::App& command) {
  std::string text = cat("expected ", option.get_description());
  const std::string path = command_path(command, ' ');
  for (const Example& example : examples)
    if (path == example.command) text += cat("; e.g. ", path, ' ', example.words);
  return text;
}

std::string of_mismatch(const std::string& message, const CLI::App& command) {
  const CLI::Option* const option = option_of(message, command);
  if (option == nullptr) return message;
  const std::string name = option->get_name();
  const auto received = message.substr(message.rfind(' ') + 1);
  if (message.find("At Most") != std::string::npos)
    return cat(name, ": got ", received, " values, expected one: ", option->get_description());
  if (message.find("missing") != std::string::npos)
    return cat(name, ": got no value, expected ", option->get_description());
  return cat(name, ": got ", received, ", ", expected(*option, command));
}

std::string of_conversion(const std::string& message, const CLI::App& command) {
  const CLI::Option* const option = option_of(message, command, "Could not convert: ");
  const size_t sign = message.find(" = ");
  if (option == nullptr || sign == std::string::npos) return message;
  const std::string type = option->get_type_name();
  const bool whole = type.starts_with("INT") || type.starts_with("UINT");
  const bool list = option->get_delimiter() == ',';
  const std::string numbers =
      cat(list ? "" : "a ", whole ? "whole " : "", "number", list ? "s with commas" : "");
  return cat(option->get_name(), ": got ", message.substr(sign + 3), ", expected ",
             whole || type.starts_with("FLOAT") ? numbers : type);
}

}  // namespace

const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

std::string unknown_command(const std::string& typed, const CLI::App& among) {
  std::vector<std::string> names;
  std::string list;
  for (const CLI::App* command : among.get_subcommands({})) {
    names.push_back(command->get_name());
    list += (list.empty() ? "" : ", ") + names.back();
  }
  names.push_back("--version");
  const std::string meant = likely_meant(typed, names);
  return cat("unknown command or argument ", typed, meant.empty() ? "" : "; did you mean " + meant + "?",
             "; commands: ", list);
}

std::string said_of(const CLI::ParseError& error, const CLI::App& app, std::span<const std::string> given) {
  const CLI::App& command = innermost(app);
  const std::string message = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) return unexpected(app, given);
  if (dynamic_cast<const CLI::ConfigError*>(&error) != nullptr)
    return cat(app.get_config_ptr()->as<std::string>(), ": ", config_error(message, app),
               "; kvviz --dump-config lists the keys");
  const std::string place = place_of(message, app, typed_options(command, given));
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    return place + of_mismatch(message, command);
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr)
    return place + of_conversion(message, command);
  const CLI::Option* const option = option_of(message, command);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && option != nullptr)
    return cat("got no ", option->get_name(), ", ", expected(*option, command));
  return place + message;
}

std::string help_for(const CLI::App& app) {
  const CLI::App& command = innermost(app);
  return &command == &app ? "kvviz --help, kvviz COMMAND --help" : command_path(command, ' ') + " --help";
}

}  // namespace kvviz
