// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "support/raw_client.hpp"
#include "unit/serve/test_server.hpp"

using namespace kvviz;
using namespace std::chrono_literals;
using test::RawClient;
using test::TestServer;

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("[slow] a client that dribbles its request is cut off at the same time as a silent one") {
  TestServer server({.to_arrive = 1s});
  for (const std::string begin :
       {"GET /api/echo HTTP/1.1\r\nHost: localhost\r\nX: ",
        "POST /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        "100\r\n\r\n{"}) {
    const RawClient raw(server.server.port());
    const auto start = std::chrono::steady_clock::now();
    raw.send(begin);
    while (seconds_since(start) < 5 && raw.send(" ") && raw.receive(1, 100ms).empty()) {
    }
    CHECK(seconds_since(start) > 0.9);
    CHECK(seconds_since(start) < 3);
  }
  const RawClient raw(server.server.port());
  raw.send("GET /api/echo HTTP/1.1\r\n");
  CHECK(raw.receive_all().find("\"code\":\"too_slow\"") != std::string::npos);
  CHECK(server.answered == 0);
}

TEST_CASE("[slow] where threads are short, a client has a second to say what it wants") {
  TestServer server({.connections = 4, .to_arrive = 60s});
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(std::make_unique<RawClient>(server.server.port()));
    waiting.back()->send("GET /api/echo HTTP/1.1\r\n");
  }
  const auto start = std::chrono::steady_clock::now();
  const RawClient next(server.server.port());
  next.send("GET /api/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(next.receive(12, 20s) == "HTTP/1.1 200");
  CHECK(seconds_since(start) < 15);
  CHECK(waiting.front()->receive_all().find("\"too_slow\"") != std::string::npos);
}

TEST_CASE("[slow] a connection without a request is closed") {
  TestServer server({.keep_alive = 1s});
  const RawClient raw(server.server.port());
  const auto start = std::chrono::steady_clock::now();
  CHECK(raw.receive_all().empty());
  CHECK(seconds_since(start) < 3);
}

TEST_CASE("[slow] a client that does not read its answer is cut off") {
  TestServer server({.connections = 1, .to_be_read = 1s});
  const RawClient raw(server.server.port(), 4096);
  raw.send("GET /api/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::this_thread::sleep_for(200ms);
  // The only thread is free again.
  const auto start = std::chrono::steady_clock::now();
  const RawClient next(server.server.port());
  next.send("GET /api/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(next.receive(12, 8s) == "HTTP/1.1 200");
  CHECK(seconds_since(start) < 6);
}
