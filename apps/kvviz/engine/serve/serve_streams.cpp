// SPDX-License-Identifier: MIT
#include <limits>

#include "kvviz/engine/serve/live_streams.hpp"
#include "kvviz/engine/serve/state.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

using serve::Fields;
using serve::Reply;
using serve::Request;

constexpr const char* default_text =
    "The lighthouse keeper climbed the narrow stairs every evening, lit the lamp and wrote the time into his "
    "book.";

// "mean", or the number of a query head.
std::optional<int64_t> head_of(const Request& request, Fields& fields, std::optional<int64_t> none) {
  const auto at = request.fields.find("head");
  if (at == request.fields.end() || at->is_null()) {
    fields.has("head");
    return none;
  }
  if (at->is_string()) {
    fields.word("head", {"mean"}, "mean");
    return std::nullopt;
  }
  return fields.integer("head", 0, std::numeric_limits<int32_t>::max(), 0);
}

StreamSettings read_settings(const Request& request, Fields& fields, const ModelConfig& config,
                             const StreamSettings& none) {
  StreamSettings s;
  s.text = fields.text("text", longest_text, none.text);
  s.view.layer = request_layer(fields, config, none.view.layer);
  s.view.head = head_of(request, fields, none.view.head);
  s.interval_ms = fields.integer("interval_ms", 50, 1000, none.interval_ms);
  s.sink_threshold = fields.number("sink_threshold", 0, 1, none.sink_threshold);
  s.heavy_threshold = fields.number("heavy_threshold", 0, 1, none.heavy_threshold);
  s.generate = fields.integer("generate", 0, LiveStream::longest, none.generate);
  s.sampling.temperature = fields.number("temperature", 0, 10, none.sampling.temperature);
  s.sampling.seed = static_cast<uint64_t>(fields.integer("seed", 0, std::numeric_limits<int32_t>::max(),
                                                         static_cast<int64_t>(none.sampling.seed)));
  return s;
}

StreamAction action_of(Fields& fields) {
  const std::vector<std::string> names = {"none", "start", "stop", "resume", "step", "reset"};
  const std::string name = fields.word("action", names, "none");
  return static_cast<StreamAction>(std::ranges::find(names, name) - names.begin());
}

Reply create(ServeState& state, const Request& request) {
  const auto model = state.model.loaded();
  const ModelConfig& config = model->runner.model.decoder.config();
  Fields fields(request);
  StreamSettings defaults;
  defaults.text = default_text;
  defaults.view.layer = -1;
  const StreamSettings settings = read_settings(request, fields, config, defaults);
  fields.done();
  const auto stream = std::make_shared<LiveStream>(model, settings);
  state.streams.add(stream);
  return {stream->describe(), 201};
}

Reply change(ServeState& state, const Request& request) {
  const auto stream = state.streams.find(request.parts[0]);
  Fields fields(request);
  const StreamAction action = action_of(fields);
  stream->keep_if(state.model.get().get());
  const auto model = stream->model();
  const StreamSettings settings =
      read_settings(request, fields, model->runner.model.decoder.config(), stream->settings());
  fields.done();
  stream->change(settings, action);
  return {stream->describe()};
}

Reply listen(ServeState& state, const Request& request) {
  Fields(request).done();
  const auto stream = state.streams.find(request.parts[0]);
  return {
      serve::Events([&state, stream](serve::EventStream& events) { stream->listen(events, state.model); })};
}

}  // namespace

std::vector<serve::Route> stream_routes(ServeState& state) {
  return {{"POST", "/api/streams", [&](const Request& r) { return create(state, r); }},
          {"POST", "/api/streams/{}", [&](const Request& r) { return change(state, r); }},
          {"GET", "/api/streams/{}/events", [&](const Request& r) { return listen(state, r); }},
          {"GET", "/api/streams/{}/matrix",
           [&](const Request& r) {
             Fields(r).done();
             return Reply{state.streams.find(r.parts[0])->matrix()};
           }},
          {"DELETE", "/api/streams/{}", [&](const Request& r) {
             Fields(r).done();
             state.streams.remove(r.parts[0]);
             return Reply{nlohmann::ordered_json::object()};
           }}};
}

}  // namespace kvviz
