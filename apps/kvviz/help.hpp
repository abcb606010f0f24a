// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <CLI/Formatter.hpp>
#include <string>

namespace kvviz {

/// CLI11's, with defaults in brackets: "INT:0.. [0]", not "INT:0..=0".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override;
};

/// Prints the help of the command that was chosen to stdout or stderr, by its descriptor; on a terminal no
/// line is wider than that.
void print_help(const CLI::App& app, int descriptor);

/// A help text in so many columns: longer lines are broken at spaces and go on below their descriptions.
std::string fitted_help(const std::string& help, int columns);

}  // namespace kvviz
