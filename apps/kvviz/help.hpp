// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <string>

namespace kvviz {

/// Prints the help of the command that was chosen; on a terminal no line is wider than that.
void print_help(const CLI::App& app);

/// A help text in so many columns: longer lines are broken at spaces and go on below their descriptions.
std::string fitted_help(const std::string& help, int columns);

}  // namespace kvviz
