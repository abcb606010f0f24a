// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/report/check.hpp"

namespace kvviz {

/// A workflow command of GitHub Actions for each check that did not pass, one a line: "::error title=TITLE::
/// MESSAGE", which GitHub shows beside the run. Escaped as its runner reads it: % \r \n everywhere, : and ,
/// in the title.
std::string github_annotations(const CheckReport& report);

}  // namespace kvviz
