// SPDX-License-Identifier: MIT
// Live streams of `kvviz serve`: what they show is what the model computes, and each belongs to its client.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "cli/results.hpp"
#include "cli/stream_listener.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using nlohmann::json;
using test::eventually;
using test::holds;
using test::row_of;
using test::Serving;
using test::StreamListener;

namespace {

const std::string text = "The keeper climbed the stairs of the tower and lit the lamp before the storm came.";

json created(const Serving& server, json fields) {
  fields.emplace("text", text);
  const auto answer = server.post("/api/streams", fields);
  REQUIRE_MESSAGE(answer.status == 201, answer.body);
  return answer.json();
}

json told(const Serving& server, const json& stream, const json& fields) {
  const auto answer = server.post("/api/streams/" + stream.at("id").get<std::string>(), fields);
  REQUIRE_MESSAGE(answer.status == 200, answer.body);
  return answer.json();
}

test::Matrices matrix_of(const Serving& server, const json& stream) {
  return matrices_in(server.get("/api/streams/" + stream.at("id").get<std::string>() + "/matrix"));
}

/// A stream that has read everything, and who listened.
json read_to_the_end(const Serving& server, const json& fields, std::vector<json>& frames) {
  const json stream = created(server, fields);
  const StreamListener listener(server, stream.at("id"));
  told(server, stream, {{"action", "start"}});
  listener.wait_for("done");
  frames = listener.frames();
  return stream;
}

/// Positions whose mean weight, from the queries at or behind them, is above the threshold.
std::vector<int64_t> sinks_by_hand(const test::Matrices& m, double threshold) {
  const auto& a = m.arrays.at("attention");
  const auto n = static_cast<size_t>(m.shapes.at("attention").at(0));
  std::vector<int64_t> sinks;
  for (size_t j = 0; j < std::min<size_t>(n, 16); ++j) {
    double sum = 0;
    for (size_t i = j; i < n; ++i) sum += a[i * n + j];
    if (sum / static_cast<double>(n - j) > threshold) sinks.push_back(static_cast<int64_t>(j));
  }
  return sinks;
}

}  // namespace

TEST_CASE("[serve] a stream's losses and tokens are those of the commands") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  std::vector<json> frames;
  const json stream = read_to_the_end(server, {{"generate", 8}, {"interval_ms", 50}}, frames);
  const json analysed = test::result_of({"analyze", "--prompt", text, "--focus", "layers"}, folder.path());
  const auto read = stream.at("tokens").get<size_t>();
  REQUIRE(frames.size() == read + 8);
  CHECK(analysed.at("summary").at("tokens") == read);
  double nll = 0;
  for (size_t i = 0; i < read; ++i) {
    CHECK(frames[i].at("position") == i);
    CHECK_FALSE(frames[i].at("token").at("generated").get<bool>());
    if (i > 0) nll += frames[i].at("token").at("nll").get<double>();
  }
  CHECK(nll / static_cast<double>(read - 1) ==
        doctest::Approx(analysed.at("summary").at("mean_nll").get<double>()).epsilon(1e-4));
  CHECK(frames[0].at("token").at("nll").is_null());
  const json generated =
      test::result_of({"analyze_generation", "--prompt", text, "--generate", "8"}, folder.path());
  for (int step = 1; step <= 8; ++step) {
    const json row = test::row(generated, "generation_steps", {{"step", step}});
    const json& token = frames[read + static_cast<size_t>(step) - 1].at("token");
    CHECK(token.at("generated") == true);
    CHECK(token.at("id") == row.at("id"));
    CHECK(token.at("text") == row.at("text"));
    CHECK(std::exp(-token.at("nll").get<double>()) ==
          doctest::Approx(row.at("probability").get<double>()).epsilon(1e-4));
  }
}

TEST_CASE("[serve] rows are weights, and the matrix is made of them") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  for (const json& head : {json("mean"), json(0), json(7)}) {
    CAPTURE(head.dump());
    std::vector<json> frames;
    const json stream =
        read_to_the_end(server, {{"generate", 0}, {"interval_ms", 50}, {"layer", 0}, {"head", head}}, frames);
    const auto m = matrix_of(server, stream);
    const size_t n = frames.size();
    REQUIRE(m.shapes.at("attention") ==
            std::vector<int64_t>{static_cast<int64_t>(n), static_cast<int64_t>(n)});
    CHECK(m.header.at("layer") == 0);
    CHECK(m.header.at("head") == head);
    for (size_t i = 0; i < n; ++i) {
      const auto row = row_of(frames[i]);
      CHECK(std::accumulate(row.begin(), row.end(), 0.0) == doctest::Approx(1).epsilon(1e-5));
      bool same = true;
      for (size_t j = 0; j < n; ++j)
        same = same && m.arrays.at("attention")[i * n + j] == (j <= i ? static_cast<double>(row[j]) : 0);
      CHECK(same);
    }
    CHECK(m.header.at("sinks") == sinks_by_hand(m, 0.1));
    CHECK(frames.back().at("sinks") == sinks_by_hand(m, 0.1));
    const json changed = told(server, stream, {{"sink_threshold", 0.02}});
    CHECK(changed.at("sinks") == sinks_by_hand(m, 0.02));
  }
}

TEST_CASE("[serve] a stream's layer is the one that /api/attention shows") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  std::vector<json> frames;
  const json stream =
      read_to_the_end(server, {{"generate", 0}, {"interval_ms", 50}, {"layer", 2}, {"head", 5}}, frames);
  const auto live = matrix_of(server, stream);
  const auto pass =
      matrices_in(server.post("/api/attention", {{"text", text}, {"layer", 2}, {"heads", 5}, {"bins", 512}}));
  const auto& a = live.arrays.at("attention");
  const auto& b = pass.arrays.at("attention");
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  CHECK(worst < 1e-5);  // steps and a pass round differently
}

TEST_CASE("[serve] start, stop, resume, step, reset") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const json stream = created(server, {{"generate", 0}, {"interval_ms", 50}});
  CHECK(stream.at("state") == "paused");
  CHECK(stream.at("position") == 0);
  const StreamListener listener(server, stream.at("id"));
  told(server, stream, {{"action", "step"}});
  told(server, stream, {{"action", "step"}});
  listener.wait_for_frames(2);
  CHECK(told(server, stream, json::object()).at("state") == "paused");
  told(server, stream, {{"action", "resume"}});
  listener.wait_for_frames(5);
  const json stopped = told(server, stream, {{"action", "stop"}});
  const auto at = stopped.at("position").get<size_t>();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(listener.frames().size() == at);
  CHECK(told(server, stream, {{"action", "reset"}}).at("position") == 0);
  told(server, stream, {{"action", "start"}, {"text", "Another text."}});
  listener.wait_for("done");
  std::string again;
  const auto frames = listener.frames();
  for (size_t i = at; i < frames.size(); ++i) {
    CHECK(frames[i].at("position") == i - at);
    again += frames[i].at("token").at("text").get<std::string>();
  }
  CHECK(holds(again, "Another text."));
  // At the end more may be generated; a step without anything left to do changes nothing.
  CHECK(told(server, stream, {{"action", "step"}}).at("state") == "done");
  told(server, stream, {{"action", "resume"}, {"generate", 3}});
  listener.wait_for_frames(frames.size() + 3);
  CHECK(listener.frames().back().at("token").at("generated") == true);
}

TEST_CASE("[serve] another view in the middle, another listener, two clients") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const json one = created(server, {{"interval_ms", 50}, {"generate", 0}});
  const json two = created(server, {{"interval_ms", 50}, {"generate", 0}, {"layer", 1}, {"head", 3}});
  CHECK(one.at("id") != two.at("id"));
  const StreamListener second(server, two.at("id"));
  auto first = std::make_unique<StreamListener>(server, one.at("id"));
  told(server, one, {{"action", "start"}});
  told(server, two, {{"action", "start"}});
  first->wait_for_frames(4);
  const json changed = told(server, one, {{"layer", 1}, {"head", 3}});
  CHECK(changed.at("view").get<int>() > one.at("view").get<int>());
  const StreamListener other(server, one.at("id"));
  CHECK(eventually([&] { return first->ended(); }));
  first.reset();
  other.wait_for("done");
  second.wait_for("done");
  for (const json& frame : other.frames()) CHECK(frame.at("view") == changed.at("view"));
  const auto a = matrix_of(server, one).arrays.at("attention"),
             b = matrix_of(server, two).arrays.at("attention");
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  CHECK(worst < 1e-5);
  const auto seen = second.frames();
  for (size_t i = 0; i < seen.size(); ++i) CHECK(seen[i].at("position") == i);
}

TEST_CASE("[serve] a stream whose model is unloaded ends, and says why") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const json stream = created(server, {{"interval_ms", 1000}});
  const StreamListener listener(server, stream.at("id"));
  told(server, stream, {{"action", "start"}});
  listener.wait_for_frames(1);
  CHECK(server.post("/api/models/unload", json::object()).status == 200);
  CHECK(listener.wait_for("done").at("reason") == "unloaded");
  const std::string path = "/api/streams/" + stream.at("id").get<std::string>();
  CHECK(server.post(path, {{"action", "start"}}).status == 409);
  CHECK(server.get(path + "/matrix").status == 409);
  CHECK(server.post("/api/streams", {{"text", text}}).status == 409);
  CHECK(holds(server.post("/api/models/load", {{"id", "demo"}}).body, "event: result"));
  CHECK(server.post(path, {{"action", "start"}}).status == 409);
  CHECK(server.post("/api/streams", {{"text", text}}).status == 201);
}

TEST_CASE("[serve] as many streams as --streams, and no more") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path(), {"--streams", "2"});
  const json one = created(server, json::object());
  created(server, json::object());
  const auto refused = server.post("/api/streams", {{"text", text}});
  CHECK(refused.status == 429);
  CHECK(holds(refused.message(), "there are 2 live streams, as many as --streams allows"));
  const std::string path = "/api/streams/" + one.at("id").get<std::string>();
  CHECK(server.client().Delete(path)->status == 200);
  CHECK(server.client().Delete(path)->status == 404);
  CHECK(server.get(path + "/events").status == 404);
  created(server, json::object());
}

TEST_CASE("[serve] what a stream refuses") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const auto refused = [&](json fields) {
    fields.emplace("text", text);
    const auto answer = server.post("/api/streams", fields);
    CHECK_MESSAGE(answer.status == 400, answer.body);
    return answer.message();
  };
  CHECK(holds(refused({{"interval_ms", 49}}), "from 50 to 1000"));
  CHECK(holds(refused({{"sink_threshold", 1.5}}), "from 0 to 1"));
  CHECK(holds(refused({{"layer", 4}}), "from -4 to 3"));
  CHECK(holds(refused({{"head", 8}}), "there is no query head 8; layer 3 has the heads 0 to 7"));
  CHECK(holds(refused({{"head", "all"}}), "expected one of mean"));
  CHECK(holds(refused({{"head", -1}}), "from 0"));
  CHECK(holds(refused({{"generate", 1025}}), "from 0 to 1024"));
  CHECK(holds(refused({{"temperature", -1}}), "from 0 to 10"));
  CHECK(holds(refused({{"speed", 3}}), "\"speed\" is no field"));
  CHECK(holds(refused({{"text", ""}}), "empty"));
  std::string long_text;
  for (int i = 0; i < 1500; ++i) long_text += " word";
  CHECK(holds(refused({{"text", long_text}}), "1024"));
  const json stream = created(server, json::object());
  const auto later = server.post("/api/streams/" + stream.at("id").get<std::string>(), {{"text", "new"}});
  CHECK(later.status == 400);
  CHECK(holds(later.message(), "needs the action start or reset"));
  CHECK(server.post("/api/streams/0/x", json::object()).status == 404);
  CHECK(server.get("/api/streams/00000000000000000000000000000000/events").status == 404);
}
