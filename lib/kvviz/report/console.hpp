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
  std::string all_columns = "the JSON result";  ///< where a reader finds the columns that are not shown
};

/// Width of the terminal behind a file descriptor (STDOUT_FILENO). Where there is none, the environment's
/// COLUMNS if it is a positive number, 100 else.
int terminal_width(int descriptor);

/// The words of a text in lines of at most `width` character cells, each but the first behind `indent`
/// spaces, which do not count; a longer word stays whole.
std::string in_lines(const std::string& text, int width, int indent = 0);

/// A table for reading: aligned, a column's numbers with the same decimals: four significant digits of the
/// largest shown, three of the middle one, and up to three decimals more where smaller ones need them for
/// two. What would still be 0 is shown as "<0.001". Thousands are separated, but not in key columns, which
/// name rows. Columns that do not fit are left out from the right (key columns stay), and those in which no
/// shown row has a value; the last line counts them. Values that do not exist are shown as "-", text is cut
/// to 40 cells.
std::string to_console(const Table& table, const ConsoleStyle& style = {});

/// The summary of a result, one fact after the other: label, value, unit. Text is not cut: it goes on below
/// itself, broken at spaces, where it is longer than `width` character cells; a label that leaves no room for
/// its value stands above it.
std::string summary_to_console(const Result& result, int width = 100);

/// A value by itself, a number with four significant digits: "0.03125", "1,235", "1.250e-07", "12,345,678".
std::string to_console(const Cell& cell);

}  // namespace kvviz
