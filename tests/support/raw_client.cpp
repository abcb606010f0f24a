// SPDX-License-Identifier: MIT
#include "support/raw_client.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace kvviz::test {

RawClient::RawClient(int port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  if (receive_buffer > 0)
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

RawClient::~RawClient() {
  ::close(socket_);
}

bool RawClient::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string RawClient::receive(size_t most, std::chrono::milliseconds quiet) const {
  std::string all;
  std::array<char, 4096> part{};
  while (all.size() < most) {
    pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, static_cast<int>(quiet.count())) <= 0) return all;
    const ssize_t got = ::recv(socket_, part.data(), std::min(part.size(), most - all.size()), 0);
    if (got <= 0) return all;
    all.append(part.data(), static_cast<size_t>(got));
  }
  return all;
}

std::string RawClient::receive_all() const {
  std::string all;
  std::array<char, 4096> part{};
  while (true) {
    pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
    constexpr int patience = 10'000;
    REQUIRE(::poll(&ready, 1, patience) > 0);
    const ssize_t got = ::recv(socket_, part.data(), part.size(), 0);
    if (got <= 0) return all;
    all.append(part.data(), static_cast<size_t>(got));
  }
}

}  // namespace kvviz::test
