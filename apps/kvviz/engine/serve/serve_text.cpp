// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/engine/serve/state.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

std::vector<int32_t> encoded(const Tokenizer& tokenizer, const std::string& text) {
  try {
    return tokenizer.encode(text);
  } catch (const DataError& error) {
    throw serve::bad_request("the text is not UTF-8: ", error.what());
  }
}

}  // namespace

TextInput request_text(const ServedModel& model, const std::string& text, int64_t most, int64_t cut) {
  const ModelConfig& config = model.runner.model.decoder.config();
  const Tokenizer& tokenizer = *model.runner.tokenizer;
  std::vector<int32_t> ids = encoded(tokenizer, text);
  if (ids.empty()) throw serve::bad_request("the text is empty");
  const bool learned = config.position != PositionKind::alibi;
  const int64_t limit = learned ? std::min(most, config.context) : most;
  const int64_t bos = tokenizer.adds_bos() ? 1 : 0;
  if (cut > 0 && std::ssize(ids) + bos > cut) ids.resize(static_cast<size_t>(cut - bos));
  const int64_t tokens = std::ssize(ids) + bos;
  if (tokens > limit)
    throw serve::bad_request("the text has ", tokens, " tokens; at most ", limit, " are taken",
                             limit < most ? ", the model's context" : "");
  return to_input({std::move(ids), "text of a request"}, {}, tokenizer, config);
}

int request_layer(serve::Fields& fields, const ModelConfig& config, int none) {
  const auto layers = std::ssize(config.layers);
  const int64_t layer = fields.integer("layer", -layers, layers - 1, none);
  return static_cast<int>(layer < 0 ? layers + layer : layer);
}

}  // namespace kvviz
