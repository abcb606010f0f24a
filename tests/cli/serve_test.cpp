// SPDX-License-Identifier: MIT
// `kvviz serve` as a command: its options, its one line, how it ends.
#include <doctest/doctest.h>

#include <csignal>

#include "cli/hub_scene.hpp"
#include "cli/results.hpp"
#include "cli/stream_listener.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::Serving;

TEST_CASE("[serve] options that do not go together") {
  CHECK(holds(test::refused({"serve", "--host", "0.0.0.0"}, 2), "needs a --token"));
  CHECK(holds(test::refused({"serve", "--host", "192.168.1.5", "--port", "9000"}, 2),
              "ssh -L 9000:127.0.0.1:9000"));
  const std::string secret = "s3cret";
  const std::string message = test::refused({"serve", "--token", secret}, 2);
  CHECK(holds(message, "has 6 characters; give 16 or more"));
  CHECK_FALSE(holds(message, secret));
  CHECK_FALSE(holds(test::refused({"serve", "--token", "0123456789 abcdef"}, 2), "abcdef"));
  CHECK(holds(test::refused({"serve", "--port", "65536"}, 2), "--port"));
  CHECK(holds(test::refused({"serve", "--streams", "0"}, 2), "--streams"));
  CHECK(holds(test::refused({"serve", "--host", "192.0.2.1", "--token", "0123456789abcdef"}, 1),
              "cannot listen at 192.0.2.1"));
}

TEST_CASE("[serve] a port that is taken") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path(), {"--model", "none"});
  const std::string port = std::to_string(server.port());
  CHECK(holds(test::refused({"serve", "--port", port}, 1), "cannot listen at 127.0.0.1 port " + port));
  CHECK(server.get("/api/health").status == 200);
}

TEST_CASE("[serve] one line on stdout, nothing written, and an end within a second") {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const test::TemporaryFolder folder;
    Serving server(folder.path());
    const auto stream = server.post("/api/streams", {{"text", "The keeper lit the lamp."}});
    REQUIRE(stream.status == 201);
    const test::StreamListener listener(server, stream.json().at("id"));
    const std::string path = "/api/streams/" + stream.json().at("id").get<std::string>();
    server.post(path, {{"action", "start"}});
    listener.wait_for_frames(2);
    server.process().signal(signal);
    const auto end = server.process().wait(std::chrono::seconds(2));
    CHECK(end.code == code);
    CHECK(end.out == cat("kvviz serve: http://127.0.0.1:", server.port(), "/  (Ctrl-C ends it)\n"));
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("[serve] with a token nothing but the page and that a token is needed is told without it") {
  const test::Variable token("KVVIZ_TOKEN", "0123456789abcdef");
  const test::TemporaryFolder folder;
  test::Running process({"serve", "--port", "0", "--host", "0.0.0.0", "--model", "none"}, folder.path());
  REQUIRE(test::eventually([&] { return holds(process.out(), "/  (Ctrl-C"); }));
  const std::string out = process.out();
  const int port = std::stoi(out.substr(out.rfind(':') + 1));
  httplib::Client client("127.0.0.1", port);
  const auto health = client.Get("/api/health");
  REQUIRE(health);
  CHECK(json::parse(health->body).size() == 4);
  CHECK(json::parse(health->body).at("token_required") == true);
  CHECK(client.Get("/")->status == 200);
  CHECK(client.Get("/api/models")->status == 401);
  const httplib::Headers with{{"Authorization", "Bearer 0123456789abcdef"}};
  CHECK(client.Get("/api/models", with)->status == 200);
  CHECK(json::parse(client.Get("/api/health", with)->body).contains("streams"));
  CHECK_FALSE(holds(out + process.err(), "0123456789abcdef"));
}

TEST_CASE("[serve] a first model that is not there is told, and the server goes on") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path(), {"--model", "no/such-model"});
  const json state = server.get("/api/model").json();
  CHECK(state.at("state") == "none");
  CHECK(holds(state.at("error").get<std::string>(), "no/such-model"));
  CHECK(holds(server.post("/api/models/load", {{"id", "demo"}}).body, "event: result"));
}
