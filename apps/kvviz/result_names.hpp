// SPDX-License-Identifier: MIT
#pragma once
#include <span>

namespace kvviz {

struct ResultNames {
  const char* command;
  const char* names;  ///< separated by spaces: its facts and columns, and other words of its page
};

/// What the pages of the commands name in backticks, made when kvviz is built (cmake/KvvizResultNames.cmake).
/// A command that is not among them can have any name: the columns of `compare` are those of what it
/// compares.
std::span<const ResultNames> result_names();

}  // namespace kvviz
