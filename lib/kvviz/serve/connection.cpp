// SPDX-License-Identifier: MIT
#include "kvviz/serve/connection.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kvviz::serve {
namespace {

using std::chrono::milliseconds;

void name_address(const sockaddr_storage& address, std::string& ip, int& port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    port = ntohs(four.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
    port = ntohs(six.sin6_port);
  }
  ip = text.data();
}

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits, const std::atomic<bool>& stopping,
                       std::function<bool()> hurry)
    : socket_(socket), limits_(limits), stopping_(stopping), hurry_(std::move(hurry)) {}

Connection::~Connection() {
  constexpr size_t most = size_t{16} << 20;
  ::shutdown(socket_, SHUT_WR);
  const auto until = Clock::now() + milliseconds(500);
  size_t dropped = 0;
  while (dropped < most && !stopping_ && wait(POLLIN, until)) {
    const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) break;
    dropped += static_cast<size_t>(got);
  }
  ::close(socket_);
}

// In slices, so that a server that stops does not wait for its clients.
bool Connection::wait(short events, Clock::time_point until) const {
  constexpr milliseconds slice{200};
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0 || stopping_) return false;
    pollfd descriptor{.fd = socket_, .events = events, .revents = 0};
    const int ready = ::poll(&descriptor, 1, static_cast<int>(std::min(left, slice).count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Connection::Clock::time_point Connection::arrives_by() const {
  return began_ + (hurry_() ? std::min(limits_.in_haste, limits_.to_arrive) : limits_.to_arrive);
}

bool Connection::wait_for_more() const {
  constexpr milliseconds slice{200};  // after which it may have become urgent
  while (Clock::now() < arrives_by() && !stopping_)
    if (wait(POLLIN, std::min(arrives_by(), Clock::now() + slice))) return true;
  return false;
}

bool Connection::next_request() {
  if (begin_ == end_ && !wait(POLLIN, Clock::now() + limits_.keep_alive)) return false;
  began_ = Clock::now();
  taken_ = 0;
  return begin_ < end_ || !gone();
}

bool Connection::gone() const {
  char byte = 0;
  const ssize_t got = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool Connection::is_readable() const {
  return begin_ < end_ || wait_for_more();
}

bool Connection::is_writable() const {
  return !gone() && wait(POLLOUT, Clock::now() + limits_.to_be_read);
}

ssize_t Connection::read(char* data, size_t size) {
  if (begin_ == end_) {
    if (!wait_for_more()) {
      too_slow_ = !stopping_;
      return -1;
    }
    const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) return got;
    begin_ = 0;
    end_ = static_cast<size_t>(got);
  }
  const size_t count = std::min(size, end_ - begin_);
  taken_ += count;
  too_large_ = taken_ > limits_.request;
  if (too_large_) return -1;
  std::memcpy(data, buffer_.data() + begin_, count);
  begin_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* data, size_t size) {
  return too_slow_ || too_large_ ? -1 : send(data, size);
}

ssize_t Connection::send(const char* data, size_t size) {
  const auto until = Clock::now() + limits_.to_be_read;
  size_t sent = 0;
  while (sent < size) {
    if (!wait(POLLOUT, until)) return -1;
    const ssize_t count = ::send(socket_, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) continue;
    if (count <= 0) return -1;
    sent += static_cast<size_t>(count);
  }
  return static_cast<ssize_t>(size);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    name_address(address, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    name_address(address, ip, port);
}

}  // namespace kvviz::serve
