// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace kvviz {

enum class ValueKind { other, file, folder, model, cached_model };

/// What an option takes, read from its type name (bind.hpp).
struct OptionValues {
  ValueKind kind = ValueKind::other;
  std::string placeholder;         ///< "FILE", "INT"; empty for a flag
  std::vector<std::string> names;  ///< the only values, or in a list the only elements; empty: any
  bool list = false;               ///< commas stand between several
};

OptionValues values_of(const CLI::Option& option);

/// Whether a value follows the option's name.
bool takes_value(const CLI::Option& option);

/// The commands below a command, in help order.
std::vector<const CLI::App*> subcommands(const CLI::App& command);

/// "kvviz models pull", with `separator` between the names.
std::string command_path(const CLI::App& command, char separator);

}  // namespace kvviz
