// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <span>
#include <string>
#include <vector>

namespace kvviz {

/// The arguments for CLI11, last first as it wants them: '_' in option names becomes '-' (--analysis_focus),
/// '-' in the command's name '_' (list-samples), so that both spellings work. Values are left alone.
std::vector<std::string> normalised(int argc, char** argv);

/// The command line as one line that a shell takes back.
std::string as_typed(int argc, char** argv);

/// The options of a command that were given, as "--samples=0-9", in the order of its help; without those of
/// `left_out` groups.
std::vector<std::string> given_options(const CLI::App& command, std::span<const char* const> left_out);
/// Those of one group alone.
std::vector<std::string> given_options_of(const CLI::App& command, const char* group);

/// Those that the command line itself gives, no configuration: "--seq-len" also where an alias was typed.
std::vector<std::string> typed_options(const CLI::App& command, std::span<const std::string> arguments);

/// "--seed" and the like, of a command and of those above it.
std::vector<std::string> option_names(const CLI::App& command);

/// Whether the user has chosen a value: on the command line (`typed`), or in a configuration another than the
/// default, as one may list all options.
bool is_chosen(const CLI::Option& option, std::span<const std::string> typed);

/// The options of a command of which is_chosen() holds.
std::vector<std::string> chosen_options(const CLI::App& command, std::span<const std::string> typed);

}  // namespace kvviz
