// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <stop_token>
#include <vector>

#include "kvviz/download/api.hpp"
#include "kvviz/download/pull.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// A model of the hub before it is downloaded.
struct HubModel {
  hub::ModelInfo info;
  std::optional<int64_t> bytes;  ///< of the files that kvviz takes; absent: the hub does not tell, or a GGUF
                                 ///< file would have to be named, or there is nothing kvviz reads
};

struct HubPull {
  hub::ModelName name;
  hub::Token token;  ///< in place of the one that is found; empty: that one
};

}  // namespace kvviz

extern "C" {
int kvviz_models_search(const kvviz::ModelsSearchOptions& options);
int kvviz_models_pull(const kvviz::ModelsPullOptions& options);
void kvviz_hub_search(const kvviz::hub::SearchOptions& options, std::vector<kvviz::hub::FoundModel>& found);
void kvviz_hub_model(const kvviz::hub::ModelName& name, kvviz::HubModel& model);
void kvviz_hub_pull(const kvviz::HubPull& what, const kvviz::hub::PullProgress& progress,
                    const std::stop_token& stop);
}
