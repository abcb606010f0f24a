// SPDX-License-Identifier: MIT
#include "kvviz/serve/server.hpp"

#include <doctest/doctest.h>
#include <httplib.h>

#include "support/raw_client.hpp"
#include "unit/serve/test_server.hpp"

using namespace kvviz;
using nlohmann::json;
using test::TestServer;

namespace {

httplib::Client client_of(const TestServer& server) {
  httplib::Client client("127.0.0.1", server.server.port());
  client.set_read_timeout(10);
  return client;
}

std::string error_code(const httplib::Result& result) {
  REQUIRE(result);
  CHECK(result->get_header_value("Content-Type").starts_with("application/json"));
  const json body = json::parse(result->body);
  CHECK_FALSE(body.at("error").at("message").get<std::string>().empty());
  return body.at("error").at("code");
}

void check_refused(const httplib::Result& result, int status, const std::string& code) {
  CHECK(error_code(result) == code);
  CHECK(result->status == status);
}

}  // namespace

TEST_CASE("[server] files of the page, with what a browser may do with them") {
  TestServer server;
  auto client = client_of(server);
  const auto page = client.Get("/");
  REQUIRE(page);
  CHECK(page->status == 200);
  CHECK(page->body.starts_with("<!doctype html>"));
  CHECK(page->get_header_value("Content-Type") == "text/html; charset=utf-8");
  const std::string policy = page->get_header_value("Content-Security-Policy");
  CHECK(policy.find("default-src 'none'") != std::string::npos);
  CHECK(policy.find("unsafe") == std::string::npos);
  CHECK(policy.find("frame-ancestors 'none'") != std::string::npos);
  CHECK(page->get_header_value("X-Content-Type-Options") == "nosniff");
  CHECK_FALSE(page->has_header("Access-Control-Allow-Origin"));
  const auto again = client.Get("/", {{"If-None-Match", page->get_header_value("ETag")}});
  REQUIRE(again);
  CHECK(again->status == 304);
  CHECK(again->body.empty());
  check_refused(client.Get("/../etc/passwd"), 404, "not_found");
  check_refused(client.Get("/app.js/"), 404, "not_found");
  check_refused(client.Get("/%2e%2e/%2e%2e/etc/passwd"), 404, "not_found");
}

TEST_CASE("[server] routes, methods and fields") {
  TestServer server;
  auto client = client_of(server);
  const auto query = client.Get("/api/echo?a=1&b=x%20y");
  REQUIRE(query);
  CHECK(json::parse(query->body).at("fields") == json{{"a", "1"}, {"b", "x y"}});
  CHECK(query->get_header_value("Cache-Control") == "no-store");
  const auto body = client.Post("/api/echo", R"({"a": [1, 2]})", "application/json");
  REQUIRE(body);
  CHECK(json::parse(body->body).at("fields") == json{{"a", {1, 2}}});
  const auto part = client.Post("/api/things/a%2Fb/part", "{}", "application/json; charset=utf-8");
  REQUIRE(part);
  CHECK(part->status == 404);  // a part is one part of the path
  const auto named = client.Post("/api/things/12/part", "{}", "application/json");
  REQUIRE(named);
  CHECK(json::parse(named->body).at("parts") == json{"12"});
  check_refused(client.Get("/api/nothing"), 404, "not_found");
  check_refused(client.Get("/api/echo/"), 404, "not_found");
  check_refused(client.Post("/api/things//part", "{}", "application/json"), 404, "not_found");
  const auto other = client.Delete("/api/echo");
  check_refused(other, 405, "method_not_allowed");
  CHECK(other->get_header_value("Allow") == "GET, POST");
  check_refused(client.Get("/api/echo?a=1&a=2"), 400, "bad_request");
  check_refused(client.Get("/api/echo?a=%ff"), 400, "bad_request");
}

TEST_CASE("[server] bodies that are refused") {
  TestServer server;
  auto client = client_of(server);
  for (const char* bad : {"{", "[]", "7", "\"text\"", "{\"a\": 1} x", "{\"a\": \"\xff\"}", "{\"a\": nan}"})
    check_refused(client.Post("/api/echo", bad, "application/json"), 400, "bad_request");
  check_refused(client.Post("/api/echo", std::string(100'000, '['), "application/json"), 400, "bad_request");
  check_refused(client.Post("/api/echo", "a=1", "application/x-www-form-urlencoded"), 415, "not_json");
  check_refused(client.Post("/api/echo", "{}", "text/plain"), 415, "not_json");
  check_refused(client.Post("/api/echo", std::string(10 << 20, ' '), "application/json"), 413, "too_large");
  CHECK(server.answered == 0);
  const auto after = client.Get("/api/echo");
  REQUIRE(after);
  CHECK(after->status == 200);
}

TEST_CASE("[server] our own errors do not tell what went wrong; busy ones when to come again") {
  TestServer server;
  auto client = client_of(server);
  const auto broken = client.Get("/api/fails");
  check_refused(broken, 500, "internal");
  CHECK(broken->body.find("secret") == std::string::npos);
  const auto busy = client.Get("/api/busy");
  check_refused(busy, 429, "too_many");
  CHECK(busy->get_header_value("Retry-After") == "2");
}

TEST_CASE("[server] Host, Origin and token") {
  TestServer server({.access = {.host = "127.0.0.1", .names = {"gpu7"}, .token = "0123456789abcdef"}});
  auto client = client_of(server);
  const httplib::Headers token{{"Authorization", "Bearer 0123456789abcdef"}};
  const auto with = [&](httplib::Headers more) {
    more.insert(token.begin(), token.end());
    return more;
  };
  check_refused(client.Get("/api/echo"), 401, "token_required");
  check_refused(client.Get("/api/nothing"), 401, "token_required");
  check_refused(client.Get("/api/echo", {{"Authorization", "Bearer wrong"}}), 401, "token_required");
  CHECK(client.Get("/api/open")->status == 200);
  CHECK(client.Get("/")->status == 200);  // the page asks for the token
  CHECK(client.Get("/api/echo", token)->status == 200);
  check_refused(client.Get("/api/echo", with({{"Host", "evil.org"}})), 403, "forbidden");
  check_refused(client.Get("/", with({{"Host", "evil.org"}})), 403, "forbidden");
  CHECK(client.Get("/api/echo", with({{"Host", "gpu7:80"}}))->status == 200);
  check_refused(client.Get("/api/echo", with({{"Origin", "http://evil.org"}})), 403, "forbidden");
  check_refused(client.Get("/api/echo", with({{"Sec-Fetch-Site", "cross-site"}})), 403, "forbidden");
  CHECK(server.answered == 3);
}

TEST_CASE(
    "[server] no request is larger than the limit, however its size is hidden, with a token or without") {
  TestServer server({.access = {.token = "0123456789abcdef0123456789abcdef"}});
  const auto first_line = [](const std::string& answer) { return answer.substr(9, 3); };
  const auto sent = [&](const std::string& head, const std::string& piece, int pieces) {
    const test::RawClient raw(server.server.port());
    raw.send(head);
    int taken = 0;
    while (taken < pieces && raw.send(piece)) ++taken;
    return std::pair(raw.receive_all(), taken);
  };
  const std::string host = " HTTP/1.1\r\nHost: localhost\r\n";
  const std::string mebibyte = "100000\r\n" + std::string(1 << 20, ' ') + "\r\n";
  for (const char* path : {"POST /api/echo", "POST /nothing", "DELETE /api/echo", "GET /api/open"}) {
    CAPTURE(path);
    CHECK(first_line(sent(path + host + "Transfer-Encoding: chunked\r\n\r\n", mebibyte, 3).first) == "411");
    CHECK(
        first_line(sent(path + host + "Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n", "x", 9).first) ==
        "415");
    CHECK(first_line(sent(path + host + "Content-Length: 2000000\r\n\r\n", mebibyte, 2).first) == "413");
  }
  CHECK(first_line(sent("POST /" + host + "Content-Length: 2\r\n\r\n", "{}", 1).first) == "405");
  const auto [answer, taken] = sent("GET /api/open" + host, "X: " + std::string(8000, 'a') + "\r\n", 100000);
  CHECK(first_line(answer) == "413");
  CHECK(answer.find("\"too_large\"") != std::string::npos);
  CHECK(taken < 4000);  // 1 MiB and what stands in buffers on the way
  CHECK(server.answered == 0);
}

TEST_CASE("[server] a refused body is not taken for the next request") {
  TestServer server;
  const test::RawClient raw(server.server.port());
  const std::string inner = "GET /api/echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
  raw.send("POST /api/echo HTTP/1.1\r\nHost: evil.org\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(inner.size()) + "\r\n\r\n" + inner);
  const std::string reply = raw.receive_all();
  CHECK(reply.starts_with("HTTP/1.1 403"));
  CHECK(reply.find("HTTP/1.1", 5) == std::string::npos);
  CHECK(server.answered == 0);
}

TEST_CASE("[server] a POST without a length, two Hosts, no HTTP") {
  TestServer server;
  for (const auto& [request, status] :
       {std::pair{"POST /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n",
                  "411"},
        std::pair{"GET /api/echo HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", "403"},
        std::pair{"GET /api/echo HTTP/1.1\r\n\r\n", "403"}, std::pair{"nonsense\r\n\r\n", "400"},
        std::pair{"PUT /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405"},
        std::pair{"BREW /api/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"}}) {
    CAPTURE(request);
    const test::RawClient raw(server.server.port());
    raw.send(request);
    CHECK(raw.receive(12, std::chrono::seconds(5)) == std::string("HTTP/1.1 ") + status);
  }
  CHECK(server.answered == 0);
}

TEST_CASE("[server] the rate of one address") {
  TestServer server({.requests_per_second = 0.001, .burst = 3});
  auto client = client_of(server);
  for (int i = 0; i < 3; ++i) CHECK(client.Get("/api/echo")->status == 200);
  check_refused(client.Get("/api/echo"), 429, "too_many");
  CHECK(client.Get("/")->status == 200);
}

TEST_CASE("[server] events, and an error among them") {
  TestServer server;
  auto client = client_of(server);
  const auto events = client.Get("/api/count");
  REQUIRE(events);
  CHECK(events->get_header_value("Content-Type") == "text/event-stream");
  CHECK(
      events->body ==
      "event: progress\ndata: {\"done\":0}\n\nevent: progress\ndata: {\"done\":1}\n\nevent: progress\ndata: "
      "{\"done\":2}\n\nevent: error\ndata: {\"error\":{\"code\":\"unusable\",\"message\":\"then it "
      "broke\",\"status\":422}}\n\n");
}

TEST_CASE("[server] messages of progress before matrices, and an error in their place") {
  TestServer server;
  auto client = client_of(server);
  const auto message = [](nlohmann::ordered_json header) {
    return serve::matrices(std::move(header), {}).body;
  };
  const auto maps = client.Get("/api/maps");
  REQUIRE(maps);
  CHECK(maps->get_header_value("Content-Type") == serve::matrices_type);
  CHECK(maps->body == message({{"progress", {{"what", "drawing"}, {"done", 1}, {"total", 2}}}}) +
                          message({{"name", "map"}}));
  const auto torn = client.Get("/api/torn");
  REQUIRE(torn);
  CHECK(torn->body ==
        message({{"error", {{"code", "unusable"}, {"message", "it cannot be drawn"}, {"status", 422}}}}));
}

TEST_CASE("[server] work ends when nobody waits for it, and when the server stops") {
  auto server = std::make_unique<TestServer>();
  const std::string request = "GET /api/endless HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const auto listening = [&](int count) {
    for (int i = 0; i < 500 && server->listening != count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return server->listening == count;
  };
  {
    const test::RawClient gone(server->server.port());
    gone.send(request);
    CHECK(listening(1));
    CHECK(gone.receive(4096, std::chrono::milliseconds(200)).find("data: {\"text\":\"a\\nb\"}\n\n") !=
          std::string::npos);
  }
  CHECK(listening(0));
  {
    const test::RawClient gone(server->server.port());
    gone.send("GET /api/long HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(listening(1));
  }
  CHECK(listening(0));
  const test::RawClient stays(server->server.port());
  stays.send(request);
  CHECK(listening(1));
  const auto begin = std::chrono::steady_clock::now();
  server.reset();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
}

TEST_CASE("[server] an address that is taken or not ours") {
  TestServer server;
  const auto listen = [](const std::string& host, int port) {
    serve::Server({.host = host, .port = port, .access = {.host = host}}, {}, {});
  };
  CHECK_THROWS_WITH_AS(listen("127.0.0.1", server.server.port()), doctest::Contains("Give another --port"),
                       DataError);
  CHECK_THROWS_AS(listen("192.0.2.1", 0), DataError);
}
