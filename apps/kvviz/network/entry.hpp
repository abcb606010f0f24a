// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/options.hpp"

extern "C" {
int kvviz_models_search(const kvviz::ModelsSearchOptions& options);
int kvviz_models_pull(const kvviz::ModelsPullOptions& options);
}
