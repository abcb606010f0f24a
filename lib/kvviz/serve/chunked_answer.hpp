// SPDX-License-Identifier: MIT
#pragma once
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "kvviz/serve/reply.hpp"

namespace kvviz::serve {

/// Where the parts of an answer go whose length is not known. Any thread may write.
class Chunks {
 public:
  Chunks(httplib::DataSink& sink, const std::atomic<bool>& stopping) : sink_(sink), stopping_(stopping) {}
  /// Throws Gone.
  void write(const std::string& part);
  /// Writes `silence` where nothing was written for some seconds, unless it is empty. Throws Gone.
  void keep(const std::string& silence);

 private:
  using Clock = std::chrono::steady_clock;
  void send(const std::string& part);

  httplib::DataSink& sink_;
  const std::atomic<bool>& stopping_;
  std::mutex mutex_;
  Clock::time_point last_ = Clock::now();
};

class ChunkedEvents : public EventStream {
 public:
  explicit ChunkedEvents(Chunks& chunks) : chunks_(chunks) {}
  void send(const std::string& event, const nlohmann::ordered_json& data) override;
  void keep() override;

 private:
  Chunks& chunks_;
};

class ChunkedMatrices : public Client {
 public:
  explicit ChunkedMatrices(Chunks& chunks) : chunks_(chunks) {}
  void progress(const std::string& what, int64_t done, int64_t total) override;
  void keep() override { chunks_.keep(""); }

 private:
  Chunks& chunks_;
};

}  // namespace kvviz::serve
