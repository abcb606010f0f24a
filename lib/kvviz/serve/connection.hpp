// SPDX-License-Identifier: MIT
#pragma once
#include <httplib.h>

#include <array>
#include <atomic>
#include <chrono>

namespace kvviz::serve {

struct ConnectionLimits {
  std::chrono::milliseconds to_arrive, to_be_read, keep_alive;
};

/// A client's socket, with time limits on the whole of what it sends and on each part that it is sent: one
/// that dribbles is cut off like one that is silent.
class Connection : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(socket_t socket, const ConnectionLimits& limits, const std::atomic<bool>& stopping);
  /// Says goodbye so that the last answer is read (a socket closed with input unread takes it back), closes.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Waits until a request begins; false: it does not, within keep_alive or before the server stops.
  bool next_request();
  /// Whether a request had begun that did not arrive in time.
  bool too_slow() const { return too_slow_; }
  /// Sends a text as it is.
  void reply(const std::string& text) { write(text.data(), text.size()); }

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  /// Whether the client has closed its side.
  bool gone() const;
  bool wait(short events, Clock::time_point until) const;

  socket_t socket_;
  ConnectionLimits limits_;
  const std::atomic<bool>& stopping_;
  Clock::time_point arrived_by_{};
  bool too_slow_ = false;
  std::array<char, 4096> buffer_{};
  size_t begin_ = 0, end_ = 0;
};

}  // namespace kvviz::serve
