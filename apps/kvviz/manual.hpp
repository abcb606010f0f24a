// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <string>

namespace kvviz {

/// The manual page of a command (of all of kvviz, of the app itself) in roff, from its table of options.
std::string manual_page(const CLI::App& command);

}  // namespace kvviz
