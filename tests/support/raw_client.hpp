// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace kvviz::test {

/// A connection to a port of this machine that sends what it is told, HTTP or not.
class RawClient {
 public:
  explicit RawClient(int port, int receive_buffer = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  /// False: the other side has closed.
  bool send(std::string_view bytes) const;
  /// Up to so many bytes, or until the other side closes or nothing has come for `quiet`.
  std::string receive(size_t most, std::chrono::milliseconds quiet) const;
  /// All until the other side closes; fails the test when it does not.
  std::string receive_all() const;

 private:
  int socket_ = -1;
};

}  // namespace kvviz::test
