// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "kvviz/download/api.hpp"
#include "kvviz/download/http.hpp"
#include "support/errors.hpp"
#include "support/fake_hub.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::FakeHub;
using test::first;
using test::holds;
using test::message_of;
using test::Seen;

namespace {

HttpSettings settings_of(const FakeHub& hub, const std::string& token = "") {
  HttpSettings settings;
  settings.endpoint = parse_url(hub.endpoint());
  settings.token = {token, "a test"};
  settings.first_pause = std::chrono::milliseconds(1);
  settings.read_timeout = std::chrono::seconds(1);
  return settings;
}

void redirect(httplib::Response& response, const std::string& to, int status = 302) {
  response.status = status;
  response.set_header("Location", to);
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("[download] the token goes to the endpoint and to no other host or port, in any kind of redirect") {
  FakeHub hub;
  for (const int status : {301, 302, 303, 307, 308}) {
    hub.clear_faults();
    hub.forget_requests();
    hub.fault(first(1, "GET", "/moved", [&](auto& r) { redirect(r, "/here", status); }));
    hub.fault(first(1, "GET", "/here", [&](auto& r) { redirect(r, hub.storage() + "/there", status); }));
    hub.fault(first(1, "GET", "/there", [&](auto& r) { redirect(r, hub.endpoint() + "/back", status); }));
    hub.fault(first(1, "GET", "/back", [](auto& r) {
      r.status = 200;
      r.set_content("done", "text/plain");
    }));
    HttpClient client(settings_of(hub, "hf_secret"));
    CHECK(client.get("/moved", 100).body == "done");
    const auto seen = hub.requests();
    REQUIRE(seen.size() == 4);
    CHECK(seen[0].authorization == "Bearer hf_secret");
    CHECK(seen[1].authorization == "Bearer hf_secret");
    CHECK(seen[2].at_storage);
    CHECK(seen[2].authorization.empty());
    CHECK(seen[3].authorization == "Bearer hf_secret");
  }
}

TEST_CASE("[download] HEAD stops at a redirect to another origin, which is the storage's business") {
  FakeHub hub;
  hub.add("o/n", {.files = {{"w.bin", {"contents", true}}}});
  HttpClient client(settings_of(hub));
  const Reply reply = client.head(file_target("o/n", std::string(39, '0') + "1", "w.bin"));
  CHECK(reply.status == 302);
  CHECK(reply.header("x-linked-size") == "8");
  CHECK(hub.requests().size() == 1);
}

TEST_CASE("[download] the address of a redirect arrives byte for byte: it may be signed") {
  FakeHub hub;
  const std::string address =
      "/x/../y/./z//?d=inline%3B+filename*%3DUTF-8%27%27a%20b&Signature=a%2Bb~c%26d%2Fe__";
  hub.fault(first(1, "GET", "/moved", [&](auto& r) { redirect(r, hub.storage() + address); }));
  HttpClient client(settings_of(hub));
  client.get("/moved", 100);
  CHECK(hub.requests().back().target == address);
}

TEST_CASE("[download] redirects in a circle, to other schemes and to nonsense end with an error") {
  FakeHub hub;
  HttpClient client(settings_of(hub));
  hub.fault(first(100, "GET", "/circle", [&](auto& r) { redirect(r, "/circle"); }));
  CHECK(holds(message_of<DataError>([&] { client.get("/circle", 100); }), "redirects in a circle"));
  CHECK(hub.requests().size() == 11);
  for (const std::string bad :
       {"file:///etc/passwd", "ftp://x/y", "http://u:p@x/y", "http://", "gopher://x"}) {
    CAPTURE(bad);
    hub.clear_faults();
    hub.fault(first(1, "GET", "/x", [&](auto& r) { redirect(r, bad); }));
    CHECK(message_of<DataError>([&] { client.get("/x", 100); }) != "");
  }
}

TEST_CASE("[download] passing troubles are tried again, others are not") {
  FakeHub hub;
  HttpClient client(settings_of(hub));
  const auto requests_for = [&](int status, int times) {
    hub.clear_faults();
    hub.forget_requests();
    hub.fault(first(times, "GET", "/x", [&](auto& r) { r.status = status; }));
    hub.fault(first(100, "GET", "/x", [](auto& r) { r.status = 200; }));
    const int got = client.get("/x", 100).status;
    return std::pair(got, hub.requests().size());
  };
  for (const int status : {408, 429, 500, 502, 503, 504})
    CHECK(requests_for(status, 2) == std::pair(200, size_t{3}));
  for (const int status : {400, 401, 403, 404, 410, 501})
    CHECK(requests_for(status, 1) == std::pair(status, size_t{1}));
  CHECK(requests_for(503, 50) == std::pair(503, size_t{6}));
}

TEST_CASE("[download] Retry-After is waited for, but not for hours") {
  FakeHub hub;
  const auto limited = [](const std::string& after) {
    return [after](httplib::Response& r) {
      r.status = 429;
      r.set_header("Retry-After", after);
    };
  };
  hub.fault(first(1, "GET", "/x", limited("1")));
  hub.fault(first(1, "GET", "/x", limited("Wed, 21 Oct 2015 07:28:00 GMT")));  // then the own pause
  hub.fault(first(1, "GET", "/x", limited("-5")));
  hub.fault(first(9, "GET", "/x", [](auto& r) { r.status = 200; }));
  HttpClient client(settings_of(hub));
  const double seconds = seconds_of([&] { CHECK(client.get("/x", 100).status == 200); });
  CHECK(seconds >= 1.0);
  CHECK(seconds < 3.0);
  hub.clear_faults();
  hub.fault(first(9, "GET", "/x", limited("99999999")));
  CHECK(holds(message_of<DataError>([&] { client.get("/x", 100); }), "asks to wait 99999999 s"));
}

TEST_CASE("[download] an answer larger than expected is not read to its end") {
  FakeHub hub;
  hub.fault(first(100, "GET", "/x", [](auto& r) {
    r.status = 200;
    r.set_chunked_content_provider("application/json", [](size_t, httplib::DataSink& sink) {
      const std::string block(1 << 16, '[');
      return sink.write(block.data(), block.size());
    });
  }));
  HttpClient client(settings_of(hub));
  CHECK(holds(message_of<DataError>([&] { client.get("/x", 1 << 20); }), "more than 1048576 bytes"));
}

TEST_CASE("[download] a server that falls silent, and one that is not there, end with an error in time") {
  FakeHub hub;
  hub.fault(first(100, "GET", "/slow", [](auto&) { std::this_thread::sleep_for(std::chrono::seconds(3)); }));
  HttpSettings settings = settings_of(hub);
  settings.tries = settings.first_tries = 1;
  const double seconds = seconds_of([&] {
    HttpClient client(settings);
    CHECK(message_of<ConnectionError>([&] { client.get("/slow", 100); }) != "");
  });
  CHECK(seconds < 2.9);
  settings.endpoint = parse_url("http://127.0.0.1:1");
  HttpClient nowhere(settings);
  const auto message = message_of<ConnectionError>([&] { nowhere.get("/", 100); });
  CHECK(holds(message, "cannot reach http://127.0.0.1:1"));
  HttpSettings unknown = settings_of(hub);
  unknown.endpoint = parse_url("http://no-such-name.invalid");
  HttpClient lost(unknown);
  for (int i = 0; i < 2; ++i)
    CHECK(holds(message_of<ConnectionError>([&] { lost.get("/", 100); }),
                "cannot reach http://no-such-name.invalid"));
  CHECK(holds(message, "kvviz models list"));
}

TEST_CASE("[download] a request stops when it is told to") {
  FakeHub hub;
  hub.fault(first(100, "GET", "/slow", [](auto&) { std::this_thread::sleep_for(std::chrono::seconds(4)); }));
  HttpSettings settings = settings_of(hub);
  settings.read_timeout = std::chrono::seconds(30);
  std::stop_source stop;
  HttpClient client(settings, stop.get_token());
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    stop.request_stop();
  });
  CHECK(seconds_of([&] { CHECK_THROWS_AS(client.get("/slow", 100), Stopped); }) < 2.0);
}

TEST_CASE("[download] settings come from the environment, mistakes in it are named") {
  const auto with = [](const std::string& name, const std::string& value) -> Environment {
    return [=](const std::string& asked) { return asked == name ? std::optional(value) : std::nullopt; };
  };
  CHECK(http_settings(with("HF_ENDPOINT", "https://m.org/hf/"), {}).endpoint.text() == "https://m.org/hf");
  CHECK(http_settings(with("", ""), {}).endpoint.text() == "https://huggingface.co/");
  CHECK(http_settings(with("HF_HUB_DOWNLOAD_TIMEOUT", "7"), {}).read_timeout == std::chrono::seconds(7));
  CHECK(http_settings(with("SSL_CERT_FILE", "/c.pem"), {}).certificates == "/c.pem");
  CHECK(
      holds(message_of<UsageError>([&] { http_settings(with("HF_ENDPOINT", "m.org"), {}); }), "HF_ENDPOINT"));
  for (const char* bad : {"0", "-1", "x", "1.5", "999999999999999999999"})
    CHECK(holds(message_of<UsageError>([&] { http_settings(with("HF_HUB_DOWNLOAD_TIMEOUT", bad), {}); }),
                "TIMEOUT"));
}

TEST_CASE("[download] an endpoint with a path, as mirrors have it") {
  FakeHub hub;
  hub.fault(first(1, "GET", "/mirror/hf/api/x", [](auto& r) { r.status = 200; }));
  HttpSettings settings = settings_of(hub);
  settings.endpoint = parse_url(hub.endpoint() + "/mirror/hf");
  HttpClient client(settings);
  CHECK(client.get("/api/x", 10).status == 200);
}
