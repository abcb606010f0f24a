// SPDX-License-Identifier: MIT
#include "kvviz/serve/server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "kvviz/core/json_depth.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/serve/chunked_answer.hpp"
#include "kvviz/serve/connection.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz::serve {
namespace {

using HandlerResponse = httplib::Server::HandlerResponse;

constexpr const char* policy_of_content =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src "
    "'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// "/api/streams/{}" and "/api/streams/12" -> {"12"}; nullopt: another path.
std::optional<std::vector<std::string>> match(const std::string& route, const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream a(route), b(path);
  std::string expected, given;
  while (std::getline(a, expected, '/')) {
    if (!std::getline(b, given, '/')) return std::nullopt;
    if (expected == "{}" && !given.empty())
      parts.push_back(given);
    else if (expected != given)
      return std::nullopt;
  }
  if (std::getline(b, given) || path.ends_with('/') != route.ends_with('/')) return std::nullopt;
  return parts;
}

void set_json(httplib::Response& response, int status, const nlohmann::ordered_json& body) {
  response.status = status;
  response.set_content(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                       "application/json; charset=utf-8");
  response.set_header("Cache-Control", "no-store");
}

void set_error(httplib::Response& response, const std::exception_ptr& error) {
  const Refusal refusal = refusal_of(error);
  set_json(response, refusal.status, refusal.body);
  if (refusal.status == 429) response.set_header("Retry-After", "2");
}

Sender sender_of(const httplib::Request& request) {
  return {request.get_header_value("Host"), request.get_header_value("Origin"),
          request.get_header_value("Sec-Fetch-Site"), request.get_header_value("Authorization")};
}

bool has_json(const httplib::Request& request) {
  std::string type = request.get_header_value("Content-Type");
  type = type.substr(0, type.find(';'));
  type.erase(type.find_last_not_of(" \t") + 1);
  std::ranges::transform(type, type.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return type == "application/json";
}

// Before a byte of the body is read, and whether there is a token or not.
void refuse_sizes(const httplib::Request& request, size_t most) {
  // Neither tells how large a body is until all of it is in memory.
  if (request.has_header("Transfer-Encoding"))
    throw HttpError(411, "bad_request", "a body in chunks is not taken; send Content-Length");
  if (request.has_header("Content-Encoding"))
    throw HttpError(415, "not_json", "a compressed body is not taken (Content-Encoding)");
  if (request.get_header_value<uint64_t>("Content-Length") > most)
    throw HttpError(413, "too_large", cat("the body is too large; at most ", most, " bytes are taken"));
}

nlohmann::json body_of(const httplib::Request& request) {
  constexpr int deepest = 32;
  if (request.body.empty()) return nlohmann::json::object();
  if (json_depth(request.body) > deepest)
    throw bad_request("the body is JSON nested deeper than ", deepest, " levels");
  nlohmann::json body;
  try {
    body = nlohmann::json::parse(request.body);
  } catch (const std::exception& error) {
    throw bad_request("the body is not JSON: ", error.what());
  }
  if (!body.is_object()) throw bad_request("the body is no JSON object; expected {\"field\": value, ...}");
  return body;
}

nlohmann::json query_of(const httplib::Request& request) {
  auto fields = nlohmann::json::object();
  for (const auto& [name, value] : request.params) {
    if (fields.contains(name)) throw bad_request("the query has ", name, " more than once");
    fields[name] = value;
  }
  // What a query may hold beyond UTF-8 is refused here and not by each who reads it.
  try {
    (void)fields.dump();
  } catch (const nlohmann::json::exception&) {
    throw bad_request("the query is not UTF-8");
  }
  return fields;
}

// What is wrong once the answer has begun.
nlohmann::ordered_json late_error(const std::exception_ptr& error) {
  Refusal refusal = refusal_of(error);
  refusal.body["error"]["status"] = refusal.status;
  return refusal.body;
}

auto events_work(Events events) {
  return [events = std::move(events)](Chunks& chunks) {
    ChunkedEvents stream(chunks);
    try {
      events(stream);
    } catch (const Gone&) {
      throw;
    } catch (...) {
      stream.send("error", late_error(std::current_exception()));
    }
  };
}

auto matrices_work(MatrixWork work) {
  return [work = std::move(work)](Chunks& chunks) {
    ChunkedMatrices client(chunks);
    std::string message;
    try {
      message = work(client).body;
    } catch (const Gone&) {
      throw;
    } catch (...) {
      message = matrices(late_error(std::current_exception()), {}).body;
    }
    chunks.write(message);
  };
}

}  // namespace

/// A request that is refused before its body is read, or is no HTTP, is its connection's last: what comes
/// would be taken for the next one. httplib gives a handler no way to its connection, but calls it in that
/// one's thread.
thread_local bool last_request = false;

class Server::Implementation : public httplib::Server {
 public:
  Implementation(ServerOptions options, std::vector<Route> routes, std::vector<PageFile> files);
  void open();
  void close();
  int port = 0;

 private:
  bool process_and_close_socket(socket_t socket) override;
  HandlerResponse check(const httplib::Request& request, httplib::Response& response);
  void refuse_others(const httplib::Request& request);
  void answer(const httplib::Request& request, httplib::Response& response);
  bool answer_file(const httplib::Request& request, httplib::Response& response) const;
  const Route& find(const httplib::Request& request, std::vector<std::string>& parts,
                    httplib::Response& response) const;
  template <class Work>
  void send_chunks(const char* type, Work work, httplib::Response& response);

  ServerOptions options_;
  std::vector<Route> routes_;
  std::vector<PageFile> files_;
  std::vector<std::string> tags_;  ///< of the files, for ETag
  RateLimit rate_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> open_{0};
};

Server::Implementation::Implementation(ServerOptions options, std::vector<Route> routes,
                                       std::vector<PageFile> files)
    : options_(std::move(options)),
      routes_(std::move(routes)),
      files_(std::move(files)),
      rate_(options_.requests_per_second, options_.burst) {
  for (const PageFile& file : files_) tags_.push_back('"' + sha256(file.body).substr(0, 16) + '"');
  new_task_queue = [threads = options_.connections] {
    return new httplib::ThreadPool(static_cast<size_t>(threads));
  };
  // Not SO_REUSEPORT, which httplib sets: a second server at this port would quietly take half the requests.
  set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  set_payload_max_length(options_.body);
  set_tcp_nodelay(true);
  set_default_headers({{"Content-Security-Policy", policy_of_content},
                       {"X-Content-Type-Options", "nosniff"},
                       {"X-Frame-Options", "DENY"},
                       {"Referrer-Policy", "no-referrer"},
                       {"Cross-Origin-Opener-Policy", "same-origin"},
                       {"Cross-Origin-Resource-Policy", "same-origin"}});
  set_pre_routing_handler([this](const auto& request, auto& response) { return check(request, response); });
  const auto any = [this](const httplib::Request& request, httplib::Response& response) {
    answer(request, response);
  };
  constexpr const char* everything = R"([\s\S]*)";
  Get(everything, any).Post(everything, any).Delete(everything, any);
  // What httplib itself refuses: where such a request ends, nobody can tell.
  set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    response.set_header("Connection", "close");
    last_request = true;
    const bool large = response.status == 413;
    set_json(response, response.status,
             error_object(large ? "too_large" : "bad_request",
                          large ? "the body is too large" : "no HTTP request that this server understands"));
  });
}

HandlerResponse Server::Implementation::check(const httplib::Request& request, httplib::Response& response) {
  try {
    refuse_others(request);
    return HandlerResponse::Unhandled;
  } catch (...) {
    set_error(response, std::current_exception());
    response.set_header("Connection", "close");
    last_request = true;
    return HandlerResponse::Handled;
  }
}

void Server::Implementation::refuse_others(const httplib::Request& request) {
  const Sender sender = sender_of(request);
  if (request.get_header_value_count("Host") != 1 || !host_is_ours(options_.access, sender.host))
    throw HttpError(403, "forbidden",
                    "the Host of the request is not this server's; --name lets it have further names");
  const bool taken = std::ranges::count(std::array{"GET", "HEAD", "POST", "DELETE"}, request.method) > 0;
  if (!taken) throw HttpError(405, "method_not_allowed", "no route takes this method");
  refuse_sizes(request, options_.body);
  if (!request.path.starts_with("/api/")) {
    if (request.method == "GET" || request.method == "HEAD") return;
    throw HttpError(405, "method_not_allowed", "only routes under /api/ take this method");
  }
  if (!same_origin(sender))
    throw HttpError(403, "forbidden", "the request comes from another site's page (Origin, Sec-Fetch-Site)");
  if (!rate_.allows(request.remote_addr)) throw too_many("too many requests from this address");
  const bool open = std::ranges::any_of(
      routes_, [&](const Route& route) { return route.without_token && route.path == request.path; });
  if (!open && !has_token(options_.access, sender))
    throw HttpError(401, "token_required",
                    "this server was started with --token; send it as Authorization: Bearer TOKEN");
  if (request.method == "GET" || request.method == "HEAD") return;
  if (request.method == "POST" && !request.has_header("Content-Length"))
    throw HttpError(411, "bad_request", "a POST needs Content-Length");
  if (request.method == "POST" && !has_json(request))
    throw HttpError(415, "not_json", "the body has another type; expected Content-Type: application/json");
}

const Route& Server::Implementation::find(const httplib::Request& request, std::vector<std::string>& parts,
                                          httplib::Response& response) const {
  std::string allowed;
  for (const Route& route : routes_) {
    const auto found = match(route.path, request.path);
    if (!found) continue;
    if (route.method == request.method) {
      parts = *found;
      return route;
    }
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  if (allowed.empty()) throw not_found("no such route; http_api.md of the documentation lists them");
  response.set_header("Allow", allowed);
  throw HttpError(405, "method_not_allowed", cat("this route takes ", allowed));
}

bool Server::Implementation::answer_file(const httplib::Request& request, httplib::Response& response) const {
  if (request.method != "GET" && request.method != "HEAD") return false;
  const auto file = std::ranges::find(files_, request.path, &PageFile::path);
  if (file == files_.end()) return false;
  const std::string& tag = tags_[static_cast<size_t>(file - files_.begin())];
  response.set_header("ETag", tag);
  response.set_header("Cache-Control", "no-cache");
  if (request.get_header_value("If-None-Match") == tag) {
    response.status = 304;
    return true;
  }
  response.status = 200;
  response.set_content(std::string(file->body), file->type);
  return true;
}

void Server::Implementation::answer(const httplib::Request& request, httplib::Response& response) {
  try {
    if (answer_file(request, response)) return;
    std::vector<std::string> parts;
    const Route& route = find(request, parts, response);
    const bool get = request.method == "GET";
    nlohmann::json fields = get ? query_of(request) : body_of(request);
    const Request asked{.parts = std::move(parts),
                        .fields = std::move(fields),
                        .from_query = get,
                        .with_token = has_token(options_.access, sender_of(request))};
    Reply reply = route.answer(asked);
    if (auto* json = std::get_if<nlohmann::ordered_json>(&reply.content)) {
      set_json(response, reply.status, *json);
    } else if (auto* bytes = std::get_if<Bytes>(&reply.content)) {
      response.status = reply.status;
      response.set_content(bytes->body, bytes->type);
      response.set_header("Cache-Control", "no-store");
    } else if (auto* events = std::get_if<Events>(&reply.content)) {
      send_chunks("text/event-stream", events_work(std::move(*events)), response);
    } else {
      send_chunks(matrices_type, matrices_work(std::move(std::get<MatrixWork>(reply.content))), response);
    }
  } catch (...) {
    set_error(response, std::current_exception());
  }
}

/// An answer to what httplib could not read to its end.
std::string last_words(const char* status, const char* code, const std::string& message) {
  const std::string body = error_object(code, message).dump();
  return cat("HTTP/1.1 ", status,
             "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ", body.size(),
             "\r\n\r\n", body);
}

/// Calls `work(chunks)`, which writes all of the answer.
template <class Work>
void Server::Implementation::send_chunks(const char* type, Work work, httplib::Response& response) {
  response.status = 200;
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Accel-Buffering", "no");  // nginx in front would hold parts back
  response.set_chunked_content_provider(type,
                                        [this, work = std::move(work)](size_t, httplib::DataSink& sink) {
                                          try {
                                            Chunks chunks(sink, stopping_);
                                            work(chunks);
                                          } catch (const Gone&) {
                                            return false;
                                          }
                                          sink.done();
                                          return true;
                                        });
}

bool Server::Implementation::process_and_close_socket(socket_t socket) {
  constexpr size_t headers = size_t{64} << 10;
  const auto short_of_threads = [this] { return open_ > options_.connections * 3 / 4; };
  const ConnectionLimits limits{options_.to_arrive, options_.to_be_read, options_.keep_alive,
                                options_.in_haste, options_.body + headers};
  Connection connection(socket, limits, stopping_, short_of_threads);
  struct Counted {
    std::atomic<int>& count;
    explicit Counted(std::atomic<int>& c) : count(c) { ++count; }
    ~Counted() { --count; }
  } counted(open_);
  bool last = false;
  while (!last && connection.next_request()) {
    // Where threads are short, a connection that only waits does not keep one.
    last = short_of_threads();
    bool closed = false;
    last_request = false;
    const bool answered = process_request(connection, last, closed, {});
    if (connection.too_slow())
      connection.reply(last_words("408 Request Timeout", "too_slow", "the request did not arrive in time"));
    if (connection.too_large())
      connection.reply(last_words("413 Payload Too Large", "too_large",
                                  cat("the request has more than ", limits.request, " bytes")));
    last = last || closed || !answered || last_request;
  }
  return true;
}

void Server::Implementation::open() {
  if (options_.port == 0)
    port = bind_to_any_port(options_.host);
  else if (bind_to_port(options_.host, options_.port))
    port = options_.port;
  constexpr int backlog = 128;  // httplib's 5 make a browser's connections wait for a second
  require(port > 0 && ::listen(svr_sock_, backlog) == 0, "cannot listen at ", options_.host, " port ",
          options_.port, ": ", errno_text, ". Give another --port (0: one that is free) or --host");
}

void Server::Implementation::close() {
  stopping_ = true;
  // httplib's own stop() does nothing before listening has begun; accept() at a socket that is shut down
  // fails at once, whenever it is called.
  ::shutdown(svr_sock_, SHUT_RDWR);
}

Server::Server(ServerOptions options, std::vector<Route> routes, std::vector<PageFile> files)
    : implementation_(
          std::make_unique<Implementation>(std::move(options), std::move(routes), std::move(files))) {
  implementation_->open();
}

Server::~Server() = default;

int Server::port() const {
  return implementation_->port;
}

void Server::run() {
  implementation_->listen_after_bind();
}

void Server::stop() {
  implementation_->close();
}

}  // namespace kvviz::serve
