// SPDX-License-Identifier: MIT
// Requests as nobody should send them, for KVVIZ_SERVE_FUZZ_SECONDS (10): every answer is HTTP, none is a
// failure of ours, and the server goes on as before.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>

#include "cli/hub_scene.hpp"
#include "cli/serving.hpp"
#include "kvviz/core/error.hpp"
#include "support/raw_client.hpp"

using namespace kvviz;
using nlohmann::json;
using test::RawClient;
using test::Serving;

namespace {

using Random = std::mt19937_64;
using Clock = std::chrono::steady_clock;

size_t below(Random& random, size_t count) {
  return std::uniform_int_distribution<size_t>(0, count - 1)(random);
}

template <class List>
const auto& one_of(const List& list, Random& random) {
  return list[below(random, list.size())];
}

struct Call {
  std::string method, path;
  json body;
};

std::vector<Call> valid_calls(const std::string& stream) {
  const std::string text = "The keeper lit the lamp.";
  const std::string at = "/api/streams/" + stream;
  return {{"GET", "/api/health", nullptr},
          {"GET", "/api/model", nullptr},
          {"GET", "/api/models", nullptr},
          {"GET", "/api/models/search?query=gpt2&limit=5&text_generation=true", nullptr},
          {"GET", "/api/models/info?id=demo", nullptr},
          {"GET", "/api/models/token", nullptr},
          {"POST",
           "/api/models/load",
           {{"id", "demo"}, {"device", "cpu"}, {"dtype", "auto"}, {"download", false}}},
          {"POST", "/api/models/unload", json::object()},
          {"POST", "/api/tokenize", {{"text", text}}},
          {"GET", "/api/samples", nullptr},
          {"GET", "/api/architecture?id=demo", nullptr},
          {"POST", "/api/attention", {{"text", text}, {"layer", -1}, {"heads", "all"}, {"bins", 16}}},
          {"POST", "/api/attention/layers", {{"text", text}, {"bins", 8}}},
          {"POST",
           "/api/streams",
           {{"text", text},
            {"layer", 0},
            {"head", 1},
            {"interval_ms", 50},
            {"sink_threshold", 0.1},
            {"generate", 4},
            {"temperature", 0.5},
            {"seed", 3}}},
          {"POST", at, {{"action", "step"}, {"interval_ms", 100}, {"heavy_threshold", 0.2}}},
          {"GET", at + "/matrix", nullptr},
          {"DELETE", "/api/streams/0123456789abcdef0123456789abcdef", nullptr},
          {"GET", "/api/policies", nullptr},
          {"POST",
           "/api/simulate",
           {{"text", text}, {"policies", {"h2o", "window"}}, {"budget", "0.5"}, {"sinks", 1}, {"recent", 2}}},
          {"POST",
           "/api/profile",
           {{"id", "demo"}, {"tokens", 512}, {"dtype", "f16"}, {"batch", 1}, {"block", 16}, {"columns", 32}}},
          {"GET", "/app.js", nullptr},
          {"GET", "/", nullptr}};
}

json strange_value(Random& random) {
  static const std::vector<json> values = {nullptr,
                                           true,
                                           0,
                                           -1,
                                           1,
                                           7,
                                           1000000,
                                           -2147483649LL,
                                           9223372036854775807LL,
                                           18446744073709551615ULL,
                                           1e308,
                                           -0.0,
                                           0.5,
                                           1e-320,
                                           "",
                                           " ",
                                           "0",
                                           "-1",
                                           "1e999",
                                           "nan",
                                           "demo",
                                           "../../etc/passwd",
                                           "/etc/passwd",
                                           "a/b",
                                           "a/b/c",
                                           "<script>alert(1)</script>",
                                           "\"><img src=x onerror=alert(1)>",
                                           std::string(1, '\0'),
                                           "\r\nX: y",
                                           "%s%n",
                                           "\xf0\x9f\x97\xbc",
                                           json::array(),
                                           json::object(),
                                           json::array({1, 2, 3}),
                                           json::array({"full", nullptr}),
                                           json::array({json::array({json::array()})}),
                                           json{{"a", {{"b", 1}}}},
                                           "HBM:1KB:1B/s",
                                           "HBM:-1:0",
                                           "all",
                                           "mean"};
  if (below(random, 20) == 0)
    return std::string(1 + below(random, 300'000), static_cast<char>('a' + below(random, 26)));
  if (below(random, 20) == 0) return json(std::vector<std::string>(1 + below(random, 2000), "h2o"));
  return one_of(values, random);
}

json strange_body(json body, Random& random) {
  if (!body.is_object()) body = json::object();
  for (size_t changes = 1 + below(random, 3); changes > 0; --changes) {
    const bool unknown = body.empty() || below(random, 8) == 0;
    std::string name =
        unknown ? "x"
                : std::next(body.begin(), static_cast<std::ptrdiff_t>(below(random, body.size()))).key();
    if (below(random, 8) == 0)
      body.erase(name);
    else
      body[name] = strange_value(random);
  }
  return body;
}

/// Bytes changed, taken out, doubled or cut.
std::string damaged(std::string text, Random& random) {
  for (size_t changes = 1 + below(random, 4); changes > 0 && !text.empty(); --changes) {
    const size_t at = below(random, text.size()), length = 1 + below(random, 8);
    switch (below(random, 5)) {
      case 0:
        text[at] = static_cast<char>(below(random, 256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(at, length * 8));
        break;
      case 3:
        text.insert(at, std::string(length, "[{\"\\\0\xff\r\n%"[below(random, 10)]));
        break;
      default:
        text.resize(at);
        break;
    }
  }
  return text;
}

std::string http(const Call& call, const std::string& body) {
  std::string head =
      cat(call.method, ' ', call.path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
  if (call.method == "POST")
    head += cat("Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n");
  return head + "\r\n" + body;
}

std::string strange_path(std::string path, Random& random) {
  static const std::vector<std::string> parts = {
      "..",   "%2e%2e", "%00", "//",  "?a=%ff",   "?id=..%2f..", "?limit=99999999999999999999",
      "&x=1", "/",      "%",   "%zz", "\xc3\xa4", "?id=<b>",     "events",
      "api"};
  path.insert(below(random, path.size() + 1), one_of(parts, random));
  return path;
}

struct Tried {
  std::string request;
  bool whole = false;  ///< HTTP as it should be, whatever it asks for
};

Tried strange_request(const std::vector<Call>& calls, Random& random) {
  Call call = one_of(calls, random);
  const std::string body = call.body.is_null() ? "" : call.body.dump();
  switch (below(random, 8)) {
    case 0:
      return {http(call, body), true};
    case 1:
      return {damaged(http(call, body), random), false};
    case 2:
      call.path = strange_path(call.path, random);
      return {http(call, body), false};
    case 3:
      return {http(call, damaged(body, random)), true};
    case 4:
      call.method = one_of(
          std::vector<std::string>{"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE", "x"}, random);
      return {http(call, body), call.method != "x"};
    default:
      return {http(call, strange_body(call.body, random).dump()), true};
  }
}

int status_of(const std::string& reply) {
  return reply.starts_with("HTTP/1.1 ") ? std::atoi(reply.c_str() + 9) : 0;
}

void check_reply(const Tried& tried, const std::string& reply) {
  const int status = status_of(reply);
  const std::string shown = tried.request.substr(0, 600) + "\n-->\n" + reply.substr(0, 1500);
  if (tried.whole) CHECK_MESSAGE(status != 0, shown);
  CHECK_MESSAGE(status < 500, shown);
  // An answer that has begun says so in an event or a message.
  CHECK_MESSAGE(reply.find(R"("code":"internal")") == std::string::npos, shown);
  const bool several = reply.find("HTTP/1.1 ", 1) != std::string::npos;
  if (status < 400 || several || tried.request.starts_with("HEAD")) return;
  const size_t at = reply.find("\r\n\r\n");
  const json body = json::parse(reply.substr(at + 4), nullptr, false);
  CHECK_MESSAGE((body.is_object() && body.contains("error")), shown);
}

#if defined(__SANITIZE_ADDRESS__)  // keeps what was freed
constexpr int64_t most_growth = int64_t{2} << 30;
#else
constexpr int64_t most_growth = int64_t{300} << 20;
#endif

int64_t resident_bytes(pid_t process) {
  std::ifstream status(cat("/proc/", process, "/status"));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::atoll(line.c_str() + 6) * 1024;
  return 0;
}

std::string new_stream(const Serving& server) {
  server.post("/api/models/load", {{"id", "demo"}});
  const auto answer = server.post("/api/streams", {{"text", "The keeper lit the lamp."}});
  return answer.status == 201 ? answer.json().at("id").get<std::string>() : "0";
}

}  // namespace

TEST_CASE("[serve] requests that nobody should send") {
  const test::Variable offline("HF_HUB_OFFLINE", "1");
  const test::TemporaryFolder folder;
  Serving server(folder.path());
  const char* wanted = std::getenv("KVVIZ_SERVE_FUZZ_SECONDS");
  const std::chrono::seconds time(wanted == nullptr ? 10 : std::atoi(wanted));
  Random random(20261121);
  auto calls = valid_calls(new_stream(server));
  int64_t before = 0;
  const auto end = Clock::now() + time;
  int requests = 0, answered = 0, good = 0;
  for (; Clock::now() < end; ++requests) {
    constexpr int round = 300;
    if (requests % round == round - 1) calls = valid_calls(new_stream(server));
    if (requests == 2 * round) before = resident_bytes(server.process().pid());
    const Tried tried = strange_request(calls, random);
    const RawClient client(server.port());
    client.send(tried.request);
    const std::string reply =
        client.receive(size_t{1} << 20, std::chrono::milliseconds(tried.whole ? 20'000 : 50));
    check_reply(tried, reply);
    const int status = status_of(reply);
    answered += status != 0 ? 1 : 0;
    good += status >= 200 && status < 300 ? 1 : 0;
    if (status == 429) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    REQUIRE_MESSAGE(!server.process().ended(), tried.request);
  }
  MESSAGE(requests, " requests, ", answered, " answered, ", good, " of them with 2xx");
  CHECK(requests > 600);
  CHECK(good > requests / 50);
  CHECK(server.get("/api/health").status == 200);
  CHECK(server.process().err().find("a bug") == std::string::npos);
  CHECK(resident_bytes(server.process().pid()) - before < most_growth);
}
