// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/options.hpp"

namespace kvviz {

/// What a report of a bug needs: version, compiler, the libraries that are really loaded, the instructions
/// that this processor gets, and where the parts of kvviz are. Loads the engine; where that fails, says why.
std::string build_facts(const CallOptions& call);

}  // namespace kvviz
