// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/analysis/cache_size.hpp"
#include "kvviz/engine/serve/state.hpp"

namespace kvviz {

/// Bytes of an id in a request: a name of the hub has 96 characters for owner and name each, a revision and a
/// GGUF file behind them.
inline constexpr size_t longest_id = 400;

/// What a request without or with an id asks about.
struct NamedModel {
  std::string id;
  std::filesystem::path folder;  ///< or GGUF file
  ModelConfig config;
};

/// The loaded model for an empty id, else the one of this machine that has it: its configuration alone is
/// read. Throws HttpError 409 where none is loaded, 404.
NamedModel named_model(const ServeState& state, const std::string& id);

/// What the model's own configuration says its numbers are: f32, f16, bf16; f16 where it says nothing.
const analysis::CacheType& own_type(const std::filesystem::path& folder);

/// 512, 1,024, ... to 131,072, those within the model's context.
std::vector<int64_t> doubling_lengths(int64_t context);

/// Search, information and access token of the hub: GET /api/models/search, info, token.
std::vector<serve::Route> hub_routes(ServeState& state);

}  // namespace kvviz
