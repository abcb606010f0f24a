// SPDX-License-Identifier: MIT
#pragma once
#include <atomic>
#include <thread>

#include "kvviz/serve/http_error.hpp"
#include "kvviz/serve/server.hpp"

namespace kvviz::test {

/// Counted for as long as it lives.
class Listening {
 public:
  explicit Listening(std::atomic<int>& count) : count_(count) { ++count_; }
  ~Listening() { --count_; }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  std::atomic<int>& count_;
};

/// A server of a few routes, answering in a thread.
struct TestServer {
  explicit TestServer(serve::ServerOptions options = {})
      : server(with_free_port(std::move(options)), routes(), files()), thread([this] { server.run(); }) {}
  ~TestServer() {
    server.stop();
    thread.join();
  }

  static serve::ServerOptions with_free_port(serve::ServerOptions options) {
    options.port = 0;
    if (options.access.host.empty()) options.access.host = options.host;
    return options;
  }
  static std::vector<serve::PageFile> files() {
    return {{"/", "text/html; charset=utf-8", "<!doctype html><title>page</title>"},
            {"/app.js", "text/javascript; charset=utf-8", "export {};"}};
  }
  std::vector<serve::Route> routes() {
    using serve::Reply;
    using serve::Request;
    const auto echo = [this](const Request& r) {
      ++answered;
      return Reply{nlohmann::ordered_json{{"fields", r.fields}, {"parts", r.parts}}};
    };
    return {{"GET", "/api/open", echo, true},
            {"GET", "/api/echo", echo},
            {"POST", "/api/echo", echo},
            {"POST", "/api/things/{}/part", echo},
            {"GET", "/api/fails", [](const Request&) -> Reply { throw std::runtime_error("secret"); }},
            {"GET", "/api/busy", [](const Request&) -> Reply { throw serve::too_many("later"); }},
            {"GET", "/api/large",
             [](const Request&) {
               return Reply{serve::Bytes{"application/octet-stream", std::string(32 << 20, 'x')}};
             }},
            {"GET", "/api/count",
             [](const Request&) {
               return Reply{serve::Events([](serve::EventStream& events) {
                 for (int i = 0; i < 3; ++i) events.send("progress", {{"done", i}});
                 throw DataError("then it broke");
               })};
             }},
            {"GET", "/api/long",
             [this](const Request&) {
               return Reply{serve::MatrixWork([this](serve::Client& client) -> serve::Bytes {
                 const Listening here(listening);
                 while (true) {
                   client.keep();
                   std::this_thread::sleep_for(std::chrono::milliseconds(10));
                 }
               })};
             }},
            {"GET", "/api/maps",
             [](const Request&) {
               return Reply{serve::MatrixWork([](serve::Client& client) {
                 client.progress("drawing", 1, 2);
                 return serve::matrices({{"name", "map"}}, {});
               })};
             }},
            {"GET", "/api/torn",
             [](const Request&) {
               return Reply{serve::MatrixWork(
                   [](serve::Client&) -> serve::Bytes { throw serve::unusable("it cannot be drawn"); })};
             }},
            {"GET", "/api/endless", [this](const Request&) {
               return Reply{serve::Events([this](serve::EventStream& events) {
                 const Listening here(listening);
                 events.send("hello", {{"text", "a\nb"}});
                 while (true) {
                   events.keep();
                   std::this_thread::sleep_for(std::chrono::milliseconds(10));
                 }
               })};
             }}};
  }

  std::atomic<int> answered{0}, listening{0};
  serve::Server server;
  std::thread thread;
};

}  // namespace kvviz::test
