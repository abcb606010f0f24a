// SPDX-License-Identifier: MIT
// POST /api/simulate gives the numbers of `kvviz simulate`; long runs can be cancelled, and wait for each
// other.
#include <doctest/doctest.h>

#include <memory>
#include <thread>

#include "cli/results.hpp"
#include "cli/serving.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"
#include "support/raw_client.hpp"

using namespace kvviz;
using nlohmann::json;
using test::events_in;
using test::holds;
using test::Serving;

namespace {

std::string sample() {
  return read_file(std::filesystem::path(KVVIZ_DATA) / "samples/02_bread.txt").substr(0, 1500);
}

json simulated(const Serving& server, const json& fields) {
  const auto answer = server.post("/api/simulate", fields);
  REQUIRE_MESSAGE(answer.status == 200, answer.body);
  const auto events = events_in(answer.body);
  REQUIRE_MESSAGE(events.back().name == "result", answer.body.substr(0, 500));
  CHECK(events.size() > 1);
  return events.back().data;
}

void check_same(const json& mine, const json& theirs, const char* name) {
  CAPTURE(name);
  if (theirs.is_null()) {
    CHECK(mine.is_null());
    return;
  }
  REQUIRE(mine.is_number());
  CHECK(mine.get<double>() == doctest::Approx(theirs.get<double>()).epsilon(1e-9));
}

/// Asks seldom enough for the server's limit of requests.
bool comes_to(const Serving& server, const char* count, int value) {
  for (int i = 0; i < 1000; ++i) {
    if (server.get("/api/health").json().at(count) == value) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace

TEST_CASE("[serve] eviction gives the numbers of the command") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const std::string text = sample();
  const json result = simulated(server, {{"text", text}});
  const json command = test::result_of(
      {"simulate", "--prompt", text, "--policies", "full,lru,window,streaming_llm,h2o", "--budget", "0.25"},
      folder.path());
  REQUIRE(result.at("policies").size() == 5);
  for (const json& policy : result.at("policies")) {
    const json key{{"policy", policy.at("policy")}};
    CAPTURE(policy.at("policy").dump());
    const json row = test::row(command, "simulate", key);
    for (const char* name :
         {"budget_tokens", "ppl", "delta_ppl", "delta_ppl_se", "delta_nll", "kl", "top1_agreement", "recall",
          "bound", "output_error", "demand_hit_rate", "sink_recall", "heavy_recall", "resident_bytes"})
      check_same(policy.at(name), row.at(name), name);
    const json counters = test::row(command, "simulate_counters", key);
    CHECK(policy.at("processed") == counters.at("processed"));
    CHECK(policy.at("hits") == counters.at("hits"));
    CHECK(policy.at("misses") == counters.at("misses"));
    CHECK(policy.at("retained_sinks") == counters.at("retained_sinks"));
    CHECK(policy.at("retained_heavy") == counters.at("retained_heavy"));
  }
  // Policies differ visibly on a default budget.
  CHECK(result.at("policies")[2].at("delta_ppl").get<double>() >
        result.at("policies")[3].at("delta_ppl").get<double>());
  CHECK(result.at("policies")[0].at("evictions") == 0);
  CHECK(result.at("tokens").size() == command.at("summary").at("tokens"));
}

TEST_CASE("[serve] sinks, recent tokens, a budget in tokens and a shorter text") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const std::string text = sample();
  const json result = simulated(server, {{"text", text},
                                         {"policies", {"h2o"}},
                                         {"budget", "40"},
                                         {"sinks", 2},
                                         {"recent", 10},
                                         {"tokens", 120}});
  CHECK(result.at("tokens").size() == 120);
  const json command = test::result_of({"simulate", "--prompt", text, "--policies", "h2o", "--budget", "40",
                                        "--sinks", "2", "--recent", "10", "--seq-len", "120", "--truncate"},
                                       folder.path());
  const json row = test::row(command, "simulate", {{"policy", "h2o"}});
  check_same(result.at("policies")[0].at("delta_nll"), row.at("delta_nll"), "delta_nll");
  CHECK(result.at("policies")[0].at("budget_tokens") == 40);
  CHECK(result.at("timeline").at("layer").is_number());
}

TEST_CASE("[serve] what a simulation refuses") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const auto refused = [&](json fields) {
    fields.emplace("text", sample());
    const auto answer = server.post("/api/simulate", fields);
    CHECK_MESSAGE(answer.status == 400, answer.body);
    return answer.message();
  };
  CHECK(holds(refused({{"policies", {"nope"}}}), "nope"));
  CHECK(holds(refused({{"policies", {"h2o", "h2o"}}}), "twice"));
  CHECK(holds(refused({{"policies", {"all"}}}), "one by one"));
  CHECK(holds(refused({{"policies", "h2o"}}), "expected a list"));
  CHECK(holds(refused({{"budget", "0"}}), "budget"));
  CHECK(holds(refused({{"budget", "-5"}}), "budget"));
  CHECK(holds(refused({{"budget", 64}}), "expected a text"));
  CHECK(holds(refused({{"sinks", 300}, {"budget", "8"}}), "sinks"));
  CHECK(holds(refused({{"text", "a"}}), "at least 4"));
  CHECK(holds(refused({{"window", 4}}), "\"window\" is no field"));
  const auto policies = server.get("/api/policies").json().at("policies");
  CHECK(policies.size() >= 15);
  for (const json& policy : policies) CHECK_FALSE(policy.at("summary").get<std::string>().empty());
}

TEST_CASE("[serve] a run ends when its client leaves; others wait their turn, up to eight") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  std::string text;
  while (text.size() < 12'000) text += sample();
  const json known = server.get("/api/policies").json().at("policies");
  json fields{{"text", text}, {"policies", json::array()}, {"tokens", 1000}};
  for (size_t i = 0; i < 16; ++i) fields["policies"].push_back(known.at(i).at("name"));
  const std::string body = fields.dump();
  const std::string request = cat(
      "POST /api/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ",
      body.size(), "\r\n\r\n", body);
  std::vector<std::unique_ptr<test::RawClient>> clients;
  for (int i = 0; i < 9; ++i) {
    clients.push_back(std::make_unique<test::RawClient>(server.port()));
    clients.back()->send(request);
    if (i == 0) REQUIRE(comes_to(server, "running", 1));
  }
  CHECK(comes_to(server, "waiting", 8));
  for (const char* path : {"/api/simulate", "/api/attention", "/api/attention/layers", "/api/profile"}) {
    CAPTURE(path);
    const auto refused = server.client().Post(path, json{{"text", sample()}}.dump(), "application/json");
    REQUIRE(refused);
    CHECK(refused->status == 429);
    CHECK(refused->has_header("Retry-After"));
    CHECK(holds(refused->body, "try again when one has ended"));
  }
  clients.clear();
  CHECK(comes_to(server, "running", 0));
  simulated(server, {{"text", sample()}, {"policies", {"window"}}});
}
