// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace kvviz::test {

struct Finished {
  int code = -1;  ///< exit code; 128 + signal when killed
  std::string out, err;
};

/// Runs the kvviz under test with the arguments in `folder` and waits for it.
Finished run_kvviz(const std::vector<std::string>& arguments, const std::filesystem::path& folder);

}  // namespace kvviz::test
