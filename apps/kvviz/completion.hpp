// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <span>
#include <string>

namespace kvviz {

/// What may stand in the place of the last of `words`, a command line without the program's name, the last
/// word as far as it is typed: commands, options, values. One line each, its meaning behind a tab; the last
/// line is ":files", ":folders" or ":", for what the shell completes in addition. Ids of models come from the
/// local Hugging Face cache.
std::string complete(const CLI::App& app, std::span<const std::string> words);

/// The script that makes a shell (bash, zsh, fish) ask `kvviz --complete`.
std::string completion_script(const std::string& shell);

}  // namespace kvviz
