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
  double scale = 1;  ///< size of the picture; text and lines grow with it
};

/// The gnuplot script that draws the figure on its standard output. Depends on its arguments alone (not on
/// the locale); no text of the figure can end a string or a line of the script. Throws DataError when a mark
/// contradicts itself (lengths of x and y, rows x cols).
std::string gnuplot_script(const Figure& figure, const Theme& theme, const Canvas& canvas);

}  // namespace kvviz::plot
