// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/live_streams.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "kvviz/engine/serve/guard.hpp"
#include "kvviz/engine/serve/state.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;

// 128 random bits: who does not know it cannot guess another's stream.
std::string new_id() {
  std::random_device random;
  std::string id;
  constexpr const char* digits = "0123456789abcdef";
  for (int word = 0; word < 4; ++word) {
    const unsigned bits = random();
    for (int shift = 0; shift < 32; shift += 4) id += digits[bits >> shift & 15];
  }
  return id;
}

ordered_json head_json(const AttentionView& view) {
  return view.head ? ordered_json(*view.head) : ordered_json("mean");
}

}  // namespace

LiveStream::LiveStream(std::shared_ptr<const ServedModel> model, StreamSettings settings)
    : id_(new_id()), model_(std::move(model)), settings_(std::move(settings)) {
  begin_anew();
}

int64_t LiveStream::limit() const {
  return std::min(longest, model_->runner.model.decoder.config().context);
}

void LiveStream::require_model() const {
  if (!model_) throw serve::conflict("the model of this stream was unloaded; begin another stream");
}

void LiveStream::begin_anew() {
  const TextInput text = request_text(*model_, settings_.text, limit());
  text_.emplace(model_->runner.model.decoder, text.tokens.ids, settings_.view,
                LiveText::Settings{.sampling = settings_.sampling,
                                   .generate = settings_.generate,
                                   .stop = model_->runner.tokenizer->eos()});
  text_tokens_ = std::ssize(text.tokens.ids);
  received_ = {};
  steps_wanted_ = 0;
  reason_.clear();
  ++view_number_;
}

StreamSettings LiveStream::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

std::shared_ptr<const ServedModel> LiveStream::model() const {
  const std::lock_guard lock(mutex_);
  require_model();
  return model_;
}

void LiveStream::keep_if(const ServedModel* loaded) {
  const std::lock_guard lock(mutex_);
  if (!model_ || model_.get() == loaded) return;
  text_.reset();
  model_.reset();
  end_with("unloaded");
}

void LiveStream::end_with(const std::string& reason) {
  state_ = State::done;
  reason_ = reason;
  steps_wanted_ = 0;
  ++version_;
}

ordered_json LiveStream::state_json() const {
  constexpr std::array names = {"paused", "running", "done"};
  ordered_json state = {{"state", names[static_cast<size_t>(state_)]},
                        {"reason", reason_.empty() ? ordered_json(nullptr) : ordered_json(reason_)},
                        {"position", text_ ? std::ssize(text_->tokens()) : 0},
                        {"tokens", text_tokens_},
                        {"view", view_number_},
                        {"layer", settings_.view.layer},
                        {"head", head_json(settings_.view)},
                        {"interval_ms", settings_.interval_ms},
                        {"sink_threshold", settings_.sink_threshold},
                        {"heavy_threshold", settings_.heavy_threshold},
                        {"generate", settings_.generate},
                        {"temperature", settings_.sampling.temperature},
                        {"seed", settings_.sampling.seed}};
  add_marks(state);
  return state;
}

ordered_json LiveStream::describe() const {
  const std::lock_guard lock(mutex_);
  ordered_json stream = {{"id", id_}};
  if (model_) stream["limit"] = limit();
  stream.update(state_json());
  return stream;
}

void LiveStream::add_marks(ordered_json& to) const {
  const auto sinks = stats::received_sinks(received_, settings_.sink_threshold);
  to["heavy"] = stats::received_heavy(received_, settings_.heavy_threshold, sinks);
  to["sinks"] = sinks;
}

void LiveStream::recount() {
  received_ = {};
  for (int64_t position = 0; position < std::ssize(text_->tokens()); ++position)
    received_.add(text_->row(position));
  ++view_number_;
}

void LiveStream::change(const StreamSettings& settings, StreamAction action) {
  const std::lock_guard lock(mutex_);
  require_model();
  const bool anew = action == StreamAction::start || action == StreamAction::reset;
  const SamplingOptions &a = settings.sampling, &b = settings_.sampling;
  if (!anew && (settings.text != settings_.text || a.temperature != b.temperature || a.seed != b.seed))
    throw serve::bad_request("a new text, temperature or seed needs the action start or reset");
  validate(settings.view, model_->runner.model.decoder.config());
  const StreamSettings before = std::exchange(settings_, settings);
  try {
    if (anew) begin_anew();
    if (!anew && !(before.view == settings.view)) {
      computed([&] { text_->show(settings.view); });
      recount();
    }
  } catch (...) {
    settings_ = before;
    throw;
  }
  text_->set_generate(settings.generate);
  if (action == StreamAction::step) ++steps_wanted_;
  if (action == StreamAction::stop || action == StreamAction::reset) state_ = State::paused;
  if (action == StreamAction::start || action == StreamAction::resume) state_ = State::running;
  // Whatever is asked for, at the end there is nothing to do; more to generate begins it again.
  reason_ = text_->ended();
  if (!reason_.empty())
    state_ = State::done;
  else if (state_ == State::done)
    state_ = State::paused;
  if (state_ == State::done) steps_wanted_ = 0;
  due_ = Clock::now();
  ++version_;
  changed_.notify_all();
}

ordered_json LiveStream::token_json(const LiveToken& token) const {
  return {{"id", token.id},
          {"text", model_->runner.tokenizer->piece(token.id)},
          {"generated", token.generated},
          {"nll", serve::number_or_null(token.nll.value_or(NAN))}};
}

ordered_json LiveStream::step() {
  const auto begin = Clock::now();
  const LiveToken token = text_->step();
  const int64_t position = std::ssize(text_->tokens()) - 1;
  const std::span<const float> row = text_->row(position);
  received_.add(row);
  ordered_json frame = {{"view", view_number_},
                        {"position", position},
                        {"token", token_json(token)},
                        {"row", serve::base64(std::as_bytes(row))}};
  add_marks(frame);
  frame["step_ms"] = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  if (const std::string reason = text_->ended(); !reason.empty()) end_with(reason);
  return frame;
}

bool LiveStream::due(Clock::time_point now) const {
  return model_ && (steps_wanted_ > 0 || (state_ == State::running && now >= due_));
}

LiveStream::Outgoing LiveStream::next(std::unique_lock<std::mutex>& lock, int64_t listener, int64_t& seen) {
  constexpr std::chrono::milliseconds pause{500};
  const auto until = state_ == State::running ? std::min(due_, Clock::now() + pause) : Clock::now() + pause;
  changed_.wait_until(
      lock, until, [&] { return ended_ || listener != listener_ || version_ != seen || due(Clock::now()); });
  Outgoing outgoing;
  if (version_ != seen) {
    seen = version_;
    outgoing.state = state_json();
    return outgoing;
  }
  const auto now = Clock::now();
  if (ended_ || listener != listener_ || !due(now)) return outgoing;
  // A step that comes late does not make the next one come early.
  due_ = std::max(due_ + std::chrono::milliseconds(settings_.interval_ms), now);
  if (steps_wanted_ > 0) --steps_wanted_;
  try {
    outgoing.frame = step();
  } catch (const DataError& error) {  // what the model gives is no number: no later step is better
    end_with(error.what());
  }
  return outgoing;
}

void LiveStream::listen(serve::EventStream& events, const ModelSlot& loaded) {
  int64_t listener = 0, seen = -1;
  {
    const std::lock_guard lock(mutex_);
    listener = ++listener_;
    heard_ = true;
    changed_.notify_all();
  }
  // Whoever listens no more says when, unless another has taken over.
  struct Leaving {
    LiveStream& stream;
    int64_t listener;
    ~Leaving() {
      const std::lock_guard lock(stream.mutex_);
      if (listener != stream.listener_) return;
      stream.heard_ = false;
      stream.left_ = Clock::now();
    }
  } leaving{*this, listener};
  while (true) {
    events.keep();
    keep_if(loaded.get().get());
    Outgoing outgoing;
    {
      std::unique_lock lock(mutex_);
      outgoing = next(lock, listener, seen);
      if (ended_ || listener != listener_) return;
    }
    if (outgoing.state) events.send("state", *outgoing.state);
    if (outgoing.frame) events.send("frame", *outgoing.frame);
  }
}

serve::Bytes LiveStream::matrix() const {
  const std::lock_guard lock(mutex_);
  require_model();
  const int64_t size = std::ssize(text_->tokens());
  std::vector<float> values(static_cast<size_t>(size * size), 0);
  for (int64_t i = 0; i < size; ++i) std::ranges::copy(text_->row(i), values.begin() + i * size);
  ordered_json header = {{"view", view_number_},
                         {"position", size},
                         {"layer", settings_.view.layer},
                         {"head", head_json(settings_.view)},
                         {"tokens", ordered_json::array()}};
  for (const LiveToken& token : text_->tokens()) header["tokens"].push_back(token_json(token));
  add_marks(header);
  return serve::matrices(std::move(header), {{"attention", {size, size}, std::span<const float>(values)}});
}

void LiveStream::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

std::optional<std::chrono::steady_clock::time_point> LiveStream::left_alone_since() const {
  const std::lock_guard lock(mutex_);
  return heard_ ? std::nullopt : std::optional(left_);
}

void LiveStreams::forget_abandoned() {
  constexpr std::chrono::seconds patience{60};
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(streams_, [&](const auto& entry) {
    const auto since = entry.second->left_alone_since();
    return since && now - *since > patience;
  });
}

void LiveStreams::add(std::shared_ptr<LiveStream> stream) {
  const std::lock_guard lock(mutex_);
  forget_abandoned();
  if (std::ssize(streams_) >= most_)
    throw serve::too_many("there are ", most_, " live streams, as many as --streams allows; try again later");
  const std::string& id = stream->id();
  streams_.emplace(id, std::move(stream));
}

std::shared_ptr<LiveStream> LiveStreams::find(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto at = streams_.find(id);
  if (at == streams_.end())
    throw serve::not_found("there is no such stream: it has ended, or nobody listened to it for a minute");
  return at->second;
}

void LiveStreams::remove(const std::string& id) {
  find(id)->end();
  const std::lock_guard lock(mutex_);
  streams_.erase(id);
}

int LiveStreams::count() {
  const std::lock_guard lock(mutex_);
  forget_abandoned();
  return static_cast<int>(streams_.size());
}

}  // namespace kvviz
