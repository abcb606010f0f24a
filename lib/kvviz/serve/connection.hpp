// SPDX-License-Identifier: MIT
#pragma once
#include <httplib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>

namespace kvviz::serve {

struct ConnectionLimits {
  std::chrono::milliseconds to_arrive, to_be_read, keep_alive;
  std::chrono::milliseconds in_haste;  ///< to arrive, while threads are short
  size_t request;                      ///< bytes of a request, its headers included
};

/// A client's socket, with limits on the time and the size of the whole of what it sends, however it is cut
/// up, and on the time of each part that it is sent: one that dribbles is cut off like one that is silent.
class Connection : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;

  /// `hurry`: whether threads are short.
  Connection(socket_t socket, const ConnectionLimits& limits, const std::atomic<bool>& stopping,
             std::function<bool()> hurry);
  /// Says goodbye so that the last answer is read (a socket closed with input unread takes it back), closes.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Waits until a request begins; false: it does not, within keep_alive or before the server stops.
  bool next_request();
  /// Whether a request had begun that did not arrive in time.
  bool too_slow() const { return too_slow_; }
  /// Whether a request was larger than the limit.
  bool too_large() const { return too_large_; }
  /// Sends a text as it is: after a request that broke off nothing else is sent.
  void reply(const std::string& text) { send(text.data(), text.size()); }

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
  /// Until something has come; false: not in time.
  bool wait_for_more() const;
  Clock::time_point arrives_by() const;
  ssize_t send(const char* data, size_t size);

  socket_t socket_;
  ConnectionLimits limits_;
  const std::atomic<bool>& stopping_;
  std::function<bool()> hurry_;
  Clock::time_point began_{};
  size_t taken_ = 0;  ///< of this request
  bool too_slow_ = false, too_large_ = false;
  std::array<char, 4096> buffer_{};
  size_t begin_ = 0, end_ = 0;
};

}  // namespace kvviz::serve
