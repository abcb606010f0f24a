// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/script.hpp"

namespace kvviz::plot {

struct RenderJob {
  std::filesystem::path file;  ///< without extension: the format adds it
  Figure figure;
};
std::filesystem::path picture_file(const RenderJob& job, Format format);

struct RenderOptions {
  Canvas canvas;
  int processes = 0;                ///< gnuplot processes at a time; 0: as many as CPUs
  bool keep_scripts = false;        ///< the script beside each figure, as FILE.gp
  std::string gnuplot = "gnuplot";  ///< name (looked up in PATH) or path of the program
};

/// gnuplot did not draw a figure, though its file could be written.
struct DrawError : DataError {
  using DataError::DataError;
};

/// Draws the figures, several at a time, one gnuplot process each; returns the files, in the order of the
/// jobs. Every file appears whole or not at all. Throws DrawError with gnuplot's own words when it fails (the
/// other figures are still drawn); DataError when it is missing and when a file cannot be written; UsageError
/// when the scale is outside 0.2 .. 10.
std::vector<std::filesystem::path> render(std::span<const RenderJob> jobs, const Theme& theme,
                                          const RenderOptions& options);

}  // namespace kvviz::plot
