// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

#include "kvviz/report/result.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz {

struct ConsoleStyle {
  int width = 100;        ///< character cells in a line
  int64_t max_rows = 40;  ///< longer tables show their first rows and say how many follow
};

/// Width of the terminal behind a file descriptor (STDOUT_FILENO); 100 where there is none.
int terminal_width(int descriptor);

/// A table for reading: aligned, a column's numbers with the same decimals: four significant digits of the
/// largest and three of the middle one. Columns that do not fit are left out from the right (key columns
/// stay), and the last line names them. Values that do not exist are shown as "-".
std::string to_console(const Table& table, const ConsoleStyle& style = {});

/// The summary of a result, one line per fact: label, value, unit.
std::string summary_to_console(const Result& result);

/// A number by itself, with four significant digits: "0.03125", "1235", "1.2e-07", "12,345,678".
std::string to_console(const Cell& cell);

}  // namespace kvviz
