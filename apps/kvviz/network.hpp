// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/network/entry.hpp"

namespace kvviz {

/// What needs a network is a shared library of its own, like the engine: no other command loads libcurl and
/// what stands behind it. Each function loads it and runs one command. Throws DataError when it cannot be
/// loaded.
int run_in_network(const ModelsSearchOptions& options);
int run_in_network(const ModelsPullOptions& options);

// What a server asks for. They throw DataError and UsageError as hub::search_models(), hub::model_info() and
// hub::pull() do, with the access token that hub::find_token() finds unless one is given.
std::vector<hub::FoundModel> search_hub(const hub::SearchOptions& options);
HubModel model_at_hub(const hub::ModelName& name);
void pull_from_hub(const HubPull& what, const hub::PullProgress& progress, const std::stop_token& stop);

}  // namespace kvviz
