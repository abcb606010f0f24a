// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace kvviz::plot {

/// Valid UTF-8 in one line: malformed bytes become U+FFFD, line breaks and tabs a space, other control
/// characters and invisible format characters (zero width, bidi) an escape such as \x1b or \u202e.
std::string one_line(std::string_view text);

/// A token's text as a label: as one_line, but white space is shown (space U+2423, line feed U+23CE, tab
/// U+21E5), and an empty text reads "(empty)".
std::string visible(std::string_view token);

/// A gnuplot string literal whose content is exactly one_line(text): no quote, backslash, macro, back-quote
/// or line break in it has a meaning.
std::string quoted(std::string_view text);

/// As quoted, for tick labels, where gnuplot reads % as a number format.
std::string quoted_tick(std::string_view text);

/// Bold text is at most so much wider than text_width says.
inline constexpr double kBoldWidth = 1.14;

/// Width of a line in pixels at a font size in pixels, from the advance widths of DejaVu Sans.
double text_width(std::string_view text, double size);

/// The text, cut with an ellipsis so that it is at most `width` pixels wide.
std::string shortened(std::string_view text, double width, double size);

/// Lines of at most `width` pixels, broken at spaces; a longer word is shortened.
std::vector<std::string> wrapped(std::string_view text, double width, double size);

}  // namespace kvviz::plot
