// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/serve/server.hpp"

namespace kvviz {

/// The files of apps/kvviz/page, which are part of this library.
std::vector<serve::PageFile> page_files();

}  // namespace kvviz
