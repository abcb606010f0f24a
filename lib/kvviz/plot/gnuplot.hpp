// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

namespace kvviz::plot {

/// Whether a program of this name is in PATH.
bool is_installed(const std::string& program);

struct GnuplotRun {
  int exit_code = 0;     ///< minus the signal when one ended it
  std::string messages;  ///< what it wrote to stderr, cut after 2,000 bytes
};

/// Runs the script with the program's standard output going to `output`. No shell, no pipe: the script and
/// the messages pass through files without a name, so nothing can block and no SIGPIPE arises. Reads no
/// personal start-up file; UTF-8, C number format and UTC whatever the caller's locale. A signal that ends
/// this process ends the program too. Throws DataError when the program cannot be started ("install
/// gnuplot-nox").
GnuplotRun run_gnuplot(const std::string& program, const std::string& script,
                       const std::filesystem::path& output);

}  // namespace kvviz::plot
