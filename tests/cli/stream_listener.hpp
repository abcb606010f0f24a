// SPDX-License-Identifier: MIT
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cli/serving.hpp"

namespace kvviz::test {

/// Listens to a live stream in a thread of its own.
class StreamListener {
 public:
  StreamListener(const Serving& server, const std::string& id);
  ~StreamListener();
  StreamListener(const StreamListener&) = delete;
  StreamListener& operator=(const StreamListener&) = delete;

  std::vector<Event> events() const;
  std::vector<nlohmann::json> frames() const;
  /// Waits for a state; the latest one with this name. Fails the test when it does not come.
  nlohmann::json wait_for(const std::string& state) const;
  void wait_for_frames(size_t count) const;
  bool ended() const;

 private:
  mutable std::mutex mutex_;
  std::string body_;
  bool leave_ = false, ended_ = false;
  httplib::Client client_;
  std::thread thread_;
};

/// The numbers of a frame's row.
std::vector<float> row_of(const nlohmann::json& frame);

}  // namespace kvviz::test
