// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kvviz/serve/access.hpp"
#include "kvviz/serve/reply.hpp"
#include "kvviz/serve/request.hpp"

namespace kvviz::serve {

/// GET /api/streams/{}: {} stands for one part of the path, handed over as Request::parts.
struct Route {
  std::string method, path;
  std::function<Reply(const Request&)> answer;
  bool without_token = false;
};

/// A file of the page, in memory.
struct PageFile {
  std::string path;  ///< "/app.js"; "/" is the page itself
  std::string type;
  std::string_view body;
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8765;  ///< 0: one that is free
  Access access;
  size_t body = size_t{1} << 20;       ///< bytes of a request's body at most
  int connections = 192;               ///< at once, each with a thread of its own; more wait for one to end
  double requests_per_second = 200;    ///< of one address to /api, on average ...
  double burst = 400;                  ///< ... and at once
  std::chrono::seconds to_arrive{10};  ///< a whole request ...
  std::chrono::seconds in_haste{1};  ///< ... and while more than three quarters of the connections are taken
  std::chrono::seconds to_be_read{20};  ///< a part of an answer
  std::chrono::seconds keep_alive{5};   ///< a connection without a request
};

/// An HTTP server for a page and its interface. Before a route sees a request, all of this holds: Host and
/// Origin are the server's own, the token is there where one is required, the body is a JSON object of
/// bounded size that arrived in time, and the sender is within its rate. Errors are JSON (docs/http_api.md),
/// but for a request that is no HTTP. Every answer forbids scripts and styles of others, framing and guessing
/// of types, and gives no other origin a right to read it.
class Server {
 public:
  /// Throws DataError when the address cannot be listened at: in use, not of this machine, not allowed.
  Server(ServerOptions options, std::vector<Route> routes, std::vector<PageFile> files);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  /// Answers until stop(); returns when every connection is closed.
  void run();
  /// Any thread: open streams end with Gone.
  void stop();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace kvviz::serve
