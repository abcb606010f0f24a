// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/options.hpp"

namespace kvviz {

/// What needs a network is a shared library of its own, like the engine: no other command loads libcurl and
/// what stands behind it. Each function loads it and runs one command. Throws DataError when it cannot be
/// loaded.
int run_in_network(const ModelsSearchOptions& options);
int run_in_network(const ModelsPullOptions& options);

}  // namespace kvviz
