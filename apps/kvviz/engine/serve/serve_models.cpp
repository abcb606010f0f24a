// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <thread>

#include "kvviz/engine/serve/loading.hpp"
#include "kvviz/engine/serve/local_models.hpp"
#include "kvviz/engine/serve/model_requests.hpp"
#include "kvviz/serve/http_error.hpp"
#include "kvviz/text/wikitext.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;
using serve::Fields;
using serve::Reply;
using serve::Request;

Reply list(const ServeState& state, const Request& request) {
  Fields(request).done();
  auto models = ordered_json::array();
  for (const LocalModel& model : local_models(state.options))
    models.push_back({{"id", model.id},
                      {"source", model.source},
                      {"architecture", model.architecture},
                      {"bytes", bytes_of(model)}});
  return {ordered_json{{"models", std::move(models)}}};
}

/// An access token comes with the request and goes to the hub: no message repeats any of it.
hub::Token token_in(const Request& request, Fields& fields) {
  constexpr size_t longest = 300;
  const auto at = request.fields.find("token");
  if (at != request.fields.end() && !at->is_null() && !at->is_string())
    throw serve::bad_request("token is no text");
  const std::string text = fields.text("token", longest, "");
  if (!std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; }))
    throw serve::bad_request(
        "token holds white space or characters that no token has; expected hf_ and letters and digits");
  return {text, "of the request"};
}

/// Tells a client of a load's progress, and asks every second whether it is still there.
class Listener {
 public:
  Listener(serve::EventStream& events, std::stop_source gone)
      : events_(events), gone_(std::move(gone)), asking_([this](const std::stop_token& end) { ask(end); }) {}

  void tell(const std::string& what, int64_t done, int64_t total) {
    constexpr std::chrono::milliseconds pause{100};
    const auto now = Clock::now();
    {
      const std::lock_guard lock(mutex_);
      if (what == what_ && done < total && now - last_ < pause) return;
      what_ = what;
      last_ = now;
    }
    sent([&] { events_.progress(what, done, total); });
  }

 private:
  using Clock = std::chrono::steady_clock;

  template <class Send>
  void sent(Send send) {
    try {
      send();
    } catch (const serve::Gone&) {
      gone_.request_stop();
    }
  }

  void ask(const std::stop_token& end) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, end, std::chrono::seconds(1), [] { return false; }) &&
           !end.stop_requested()) {
      lock.unlock();
      sent([&] { events_.keep(); });
      lock.lock();
    }
  }

  serve::EventStream& events_;
  std::stop_source gone_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string what_;
  Clock::time_point last_;
  std::jthread asking_;  // the last member: it uses the others
};

void load(const ServeOptions& options, const ModelWish& wish, Loading& loading, serve::EventStream& events) {
  constexpr const char* cancelled = "it was cancelled";
  const std::stop_source gone;
  std::shared_ptr<const ServedModel> model;
  try {
    Listener listener(events, gone);
    model = read_served_model(
        options, wish,
        [&](const std::string& what, int64_t done, int64_t total) {
          loading.progress(what, done, total);
          listener.tell(what, done, total);
        },
        gone.get_token());
    events.keep();
  } catch (const serve::Gone&) {
    loading.fail(cancelled);
    throw;
  } catch (const std::exception& error) {
    loading.fail(gone.stop_requested() ? cancelled : error.what());
    if (gone.stop_requested()) throw serve::Gone();
    throw;
  }
  loading.put(model);
  events.send("result", card_of(*model));
}

Reply load(ServeState& state, const Request& request) {
  Fields fields(request);
  const std::string id = fields.text("id", longest_id);
  const std::string device = fields.word("device", {"auto", "cpu", "cuda", "mps"}, "auto");
  const std::string dtype = fields.word("dtype", {"auto", "f32", "bf16", "f16"}, "auto");
  const bool download = fields.yes("download", true);
  const ModelWish wish{id, device, dtype, download, token_in(request, fields)};
  fields.done();
  check(state.options, wish);
  const auto loading = std::make_shared<Loading>(state.model, id);
  return {serve::Events(
      [&state, wish, loading](serve::EventStream& events) { load(state.options, wish, *loading, events); })};
}

Reply unload(ServeState& state, const Request& request) {
  Fields(request).done();
  state.model.unload();
  return {state.model.state()};
}

Reply tokenize(const ServeState& state, const Request& request) {
  const auto model = state.model.loaded();
  Fields fields(request);
  const std::string text = fields.text("text", longest_text);
  fields.done();
  const Tokenizer& tokenizer = *model->runner.tokenizer;
  const int64_t bos = tokenizer.adds_bos() ? 1 : 0;
  return {ordered_json{{"tokens", std::ssize(tokenizer.encode(text)) + bos},
                       {"context", model->runner.model.decoder.config().context}}};
}

/// At most so many characters, each whole.
std::string beginning(const std::string& text, size_t characters) {
  size_t at = 0;
  for (size_t seen = 0; at < text.size(); ++at) {
    const bool first_byte = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (first_byte && ++seen > characters) break;
  }
  return text.substr(0, at);
}

Reply samples(const ServeState& state, const Request& request) {
  Fields(request).done();
  constexpr size_t characters = 2000;
  const auto texts = text::open_samples(state.options.call.data / "samples");
  auto samples = ordered_json::array();
  for (const text::Article& article : texts.articles()) {
    const auto index = std::ssize(samples);
    samples.push_back(
        {{"index", index}, {"title", article.title}, {"text", beginning(texts.text(index), characters)}});
  }
  return {ordered_json{{"samples", std::move(samples)}}};
}

}  // namespace

std::vector<serve::Route> model_routes(ServeState& state) {
  std::vector<serve::Route> routes{
      {"GET", "/api/model",
       [&](const Request& r) {
         Fields(r).done();
         return Reply{state.model.state()};
       }},
      {"GET", "/api/models", [&](const Request& r) { return list(state, r); }},
      {"POST", "/api/models/load", [&](const Request& r) { return load(state, r); }},
      {"POST", "/api/models/unload", [&](const Request& r) { return unload(state, r); }},
      {"POST", "/api/tokenize", [&](const Request& r) { return tokenize(state, r); }},
      {"GET", "/api/samples", [&](const Request& r) { return samples(state, r); }}};
  std::ranges::move(hub_routes(state), std::back_inserter(routes));
  return routes;
}

}  // namespace kvviz
