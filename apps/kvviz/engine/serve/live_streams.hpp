// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "kvviz/engine/serve/served_model.hpp"
#include "kvviz/eval/live_text.hpp"
#include "kvviz/serve/reply.hpp"
#include "kvviz/stats/received_attention.hpp"

namespace kvviz {

/// What a client sets; the fields of POST /api/streams.
struct StreamSettings {
  std::string text;
  AttentionView view{};
  int64_t interval_ms = 200;
  double sink_threshold = 0.1, heavy_threshold = 0.05;
  int64_t generate = 64;
  SamplingOptions sampling{};
};

enum class StreamAction { none, start, stop, resume, step, reset };

/// One client's text, read step by step. The thread that answers listen() makes the steps; any other may
/// change what is to be done.
class LiveStream {
 public:
  static constexpr int64_t longest = 1024;  ///< tokens, where the model's context is not shorter

  LiveStream(std::shared_ptr<const ServedModel> model, StreamSettings settings);

  const std::string& id() const { return id_; }
  StreamSettings settings() const;
  /// Throws HttpError 409 where it was unloaded.
  std::shared_ptr<const ServedModel> model() const;
  /// Ends the stream where its model is not this one, the one that is loaded.
  void keep_if(const ServedModel* loaded);
  /// The settings in force and the state: the answer to POST /api/streams.
  nlohmann::ordered_json describe() const;
  /// Throws HttpError 400 where settings do not go together with the model, 409 where it was unloaded.
  void change(const StreamSettings& settings, StreamAction action);
  /// Makes steps and sends them until the client is gone or another listener comes.
  void listen(serve::EventStream& events, const ModelSlot& loaded);
  /// Everything so far: the answer to GET /api/streams/{id}/matrix.
  serve::Bytes matrix() const;
  void end();
  /// Since when nobody listens; nullopt: somebody does.
  std::optional<std::chrono::steady_clock::time_point> left_alone_since() const;

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { paused, running, done };
  struct Outgoing {
    std::optional<nlohmann::ordered_json> state, frame;
  };

  void begin_anew();
  void end_with(const std::string& reason);
  void require_model() const;
  int64_t limit() const;
  nlohmann::ordered_json token_json(const LiveToken& token) const;
  nlohmann::ordered_json state_json() const;
  nlohmann::ordered_json step();
  void add_marks(nlohmann::ordered_json& to) const;
  void recount();
  bool due(Clock::time_point now) const;
  Outgoing next(std::unique_lock<std::mutex>& lock, int64_t listener, int64_t& seen);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  const std::string id_;
  std::shared_ptr<const ServedModel> model_;  ///< null: unloaded, or the stream has ended
  StreamSettings settings_;
  std::optional<LiveText> text_;
  int64_t text_tokens_ = 0;
  stats::ReceivedAttention received_;
  State state_ = State::paused;
  std::string reason_;
  int64_t steps_wanted_ = 0, view_number_ = 0;
  int64_t version_ = 0;   ///< of the state, for listeners
  int64_t listener_ = 0;  ///< the newest one
  bool heard_ = false, ended_ = false;
  Clock::time_point due_{}, left_ = Clock::now();
};

/// All streams of a server. One that nobody has listened to for a minute is forgotten when the next request
/// comes.
class LiveStreams {
 public:
  explicit LiveStreams(int most) : most_(most) {}
  /// Throws HttpError 429 where there are as many as may be.
  void add(std::shared_ptr<LiveStream> stream);
  /// Throws HttpError 404.
  std::shared_ptr<LiveStream> find(const std::string& id);
  void remove(const std::string& id);
  int count();

 private:
  void forget_abandoned();

  int most_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<LiveStream>> streams_;
};

}  // namespace kvviz
