// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/plot/figure.hpp"

namespace kvviz::plot {

enum class Format { png, svg, pdf };

/// "png", "svg" or "pdf"; throws UsageError naming them otherwise.
Format parse_format(const std::string& name);
const char* extension(Format format);  ///< without the dot

struct Canvas {
  Format format = Format::png;
  double scale = 1;       ///< size of the picture; text and lines grow with it
  double text_scale = 1;  ///< size of text, lines and markers beside the theme's
};

/// Pixels of the picture to the inch of a PDF: a figure of 1,500 pixels is 7 inches wide, as the text of a
/// page.
inline constexpr double kPdfPixels = 1500 / 7.0;

/// The gnuplot script that draws the figure on its standard output. Depends on its arguments alone (not on
/// the locale); no text of the figure can end a string or a line of the script. Throws DataError when a mark
/// contradicts itself (lengths of x and y, rows x cols).
/// The unit of an SVG is a design pixel.
std::string gnuplot_script(const Figure& figure, const Theme& theme, const Canvas& canvas);

}  // namespace kvviz::plot
