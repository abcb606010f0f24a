// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/engine/serve/runs.hpp"
#include "kvviz/engine/serve/served_model.hpp"
#include "kvviz/options.hpp"
#include "kvviz/serve/server.hpp"

namespace kvviz {

class LiveStreams;

/// What the routes of a server share.
struct ServeState {
  const ServeOptions& options;
  ModelSlot model{};
  Runs runs{};
  LiveStreams& streams;
};

// The routes of docs/http_api.md, by chapter.
std::vector<serve::Route> model_routes(ServeState& state);         ///< Server and models, but for health
std::vector<serve::Route> architecture_routes(ServeState& state);  ///< Architecture
std::vector<serve::Route> attention_routes(ServeState& state);     ///< Attention
std::vector<serve::Route> stream_routes(ServeState& state);        ///< Live streams
std::vector<serve::Route> simulate_routes(ServeState& state);      ///< Eviction
std::vector<serve::Route> profile_routes(ServeState& state);       ///< Cache profile

/// Texts that requests may give: bytes at most.
inline constexpr size_t longest_text = 200'000;

/// A text as tokens of a model, BOS by the tokenizer's own policy. Throws HttpError 400: empty, not UTF-8, or
/// more than `most` tokens (or the model's context). With `cut` above 1 the text ends there.
TextInput request_text(const ServedModel& model, const std::string& text, int64_t most, int64_t cut = 0);

/// The field `layer` of a request; negative ones count from the end. Throws HttpError 400: the model has no
/// such layer.
int request_layer(serve::Fields& fields, const ModelConfig& config, int none);

/// Loads the model of the command line while the server answers already; what goes wrong stands on stderr and
/// in /api/model.
void load_first_model(ServeState& state);

}  // namespace kvviz
