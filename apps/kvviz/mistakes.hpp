// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <span>
#include <string>

namespace kvviz {

/// The command that was chosen, down to `kvviz models pull`; `app` itself where none was.
const CLI::App& innermost(const CLI::App& app);

/// What to say of a word that is none of the commands of `among`.
std::string unknown_command(const std::string& typed, const CLI::App& among);

/// What to say of what CLI11 could not parse: what was got, what was expected or meant, and the
/// configuration's name where that is at fault. `given` is the command line in the user's order.
std::string said_of(const CLI::ParseError& error, const CLI::App& app, std::span<const std::string> given);

/// The command line that prints the help for what was parsed so far.
std::string help_for(const CLI::App& app);

}  // namespace kvviz
