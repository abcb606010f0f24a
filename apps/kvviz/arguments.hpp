// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

namespace kvviz {

/// The arguments for CLI11, last first as it wants them: '_' in option names becomes '-' (--analysis_focus),
/// '-' in the command's name '_' (list-samples), so that both spellings work. Values are left alone.
std::vector<std::string> normalised(int argc, char** argv);

/// The command line as one line that a shell takes back.
std::string as_typed(int argc, char** argv);

}  // namespace kvviz
