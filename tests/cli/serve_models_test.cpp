// SPDX-License-Identifier: MIT
// The routes of `kvviz serve` about models: what they answer is what the command line says.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "cli/hub_scene.hpp"
#include "cli/serving.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using nlohmann::json;
using test::Answer;
using test::Event;
using test::events_in;
using test::eventually;
using test::holds;
using test::Serving;
using test::Variable;
using Scene = test::HubScene;
namespace fs = std::filesystem;

namespace {

json summary_of(const Scene& scene, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "info");
  return scene.json(std::move(arguments)).at("summary");
}

const json& entry(const json& list, const std::string& id) {
  for (const json& one : list)
    if (one.at("id") == id) return one;
  FAIL("no entry with the id ", id, " in ", list.dump());
  return list;
}

std::vector<Event> loaded(const Serving& server, const json& fields) {
  const Answer answer = server.post("/api/models/load", fields);
  REQUIRE_MESSAGE(answer.status == 200, answer.body);
  CHECK(holds(answer.type, "text/event-stream"));
  const auto events = events_in(answer.body);
  REQUIRE_FALSE(events.empty());
  for (size_t i = 0; i + 1 < events.size(); ++i) CHECK(events[i].name == "progress");
  return events;
}

std::set<std::string> steps_of(const std::vector<Event>& events) {
  std::set<std::string> steps;
  for (const Event& event : events)
    if (event.name == "progress") steps.insert(event.data.at("what"));
  return steps;
}

/// Refused with this status and code, and a message that has these words.
void check_refused(const Answer& answer, int status, const char* code, const std::string& words) {
  CHECK_MESSAGE(answer.status == status, answer.body);
  const json body = answer.json();
  REQUIRE_MESSAGE(body.contains("error"), answer.body);
  CHECK(body["error"]["code"] == code);
  CHECK_MESSAGE(holds(body["error"]["message"], words), answer.body);
}

/// Storage that gives a thousand bytes at a time, ten times a second.
void make_slow(test::FakeHub& hub) {
  hub.fault([](const test::Seen& seen, httplib::Response& response) {
    if (!seen.at_storage) return false;
    response.status = 200;
    const auto bytes = fs::file_size(fs::path(KVVIZ_DATA) / "models/demo/model.safetensors");
    response.set_content_provider(bytes, "binary/octet-stream",
                                  [](size_t, size_t length, httplib::DataSink& sink) {
                                    const std::string some(std::min<size_t>(length, 1000), 'x');
                                    std::this_thread::sleep_for(std::chrono::milliseconds(100));
                                    return sink.write(some.data(), some.size());
                                  });
    return true;
  });
}

/// A client that loads a model and goes away when it is told to.
class Leaving {
 public:
  Leaving(const Serving& server, const json& fields)
      : thread_([this, client = std::make_shared<httplib::Client>("127.0.0.1", server.port()),
                 body = fields.dump()] {
          httplib::Request request;
          request.method = "POST";
          request.path = "/api/models/load";
          request.set_header("Content-Type", "application/json");
          request.body = body;
          request.content_receiver = [&](const char*, size_t, uint64_t, uint64_t) { return !leave_; };
          CHECK(client->send(request).error() == httplib::Error::Canceled);
        }) {}
  ~Leaving() { go(); }
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;
  void go() {
    leave_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> leave_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("[serve models] the card of the loaded model has the numbers of models info") {
  const Scene scene;
  const Serving server(scene.work.path());
  const json card = server.get("/api/model").json().at("model");
  const json facts = summary_of(scene, {"demo", "--dtype", "f32"});
  const std::pair<const char*, const char*> same[] = {{"architecture", "architecture"},
                                                      {"layers", "layers"},
                                                      {"query_heads", "heads"},
                                                      {"kv_heads", "kv_heads"},
                                                      {"head_dim", "head_dim"},
                                                      {"hidden", "hidden"},
                                                      {"vocabulary", "vocabulary"},
                                                      {"context", "context"},
                                                      {"parameters", "parameters"},
                                                      {"weights_bytes", "weights_bytes"},
                                                      {"bytes_per_token", "bytes_per_token"}};
  for (const auto& names : same) CHECK_MESSAGE(card.at(names.first) == facts.at(names.second), names.first);
  CHECK(card["id"] == "demo");
  CHECK(card["family"] == "llama");
  CHECK(card["dtype"] == "f32");
  CHECK(card["device"] == "cpu");
  CHECK(holds(card["tokenizer"], "2048 tokens"));

  // The text of the tokenizer's tests and a BOS, as `kvviz analyze` counts them.
  const auto tokens = server.post("/api/tokenize", {{"text", "Hello world"}}).json();
  CHECK(tokens == json{{"tokens", 5}, {"context", 1024}});
  const auto samples = server.get("/api/samples").json().at("samples");
  const auto listed = json::parse(scene.run({"list_samples", "--json", "-"}).out);
  REQUIRE(samples.size() == 8);
  for (size_t i = 0; i < samples.size(); ++i) {
    CHECK(samples[i]["index"] == i);
    CHECK(samples[i]["title"] == listed["rows"][i]["title"]);
    const auto text = samples[i]["text"].get<std::string>();
    CHECK(std::ranges::count_if(text, [](unsigned char c) { return (c & 0xC0) != 0x80; }) == 2000);
  }
}

TEST_CASE("[serve models] what can be loaded without a download") {
  const Scene scene;
  REQUIRE(scene.models({"pull", "own/er"}).code == 0);
  test::FakeModel other = test::shipped_model();
  auto& hub = const_cast<test::FakeHub&>(scene.hub);
  hub.add("own/config", other);
  hub.add("own/broken", other);
  REQUIRE(scene.models({"pull", "own/config", "--no-weights"}).code == 0);
  REQUIRE(scene.models({"pull", "own/broken"}).code == 0);
  const fs::path broken = scene.cache / "models--own--broken/snapshots" / other.commit / "model.safetensors";
  fs::remove(fs::weakly_canonical(broken));
  other.commit = std::string(39, '0') + "2";
  hub.add("own/er", other);
  REQUIRE(scene.models({"pull", "own/er"}).code == 0);  // main stands at another commit now

  fs::create_directories(scene.work / "demo");  // results, no model
  const fs::path folder = scene.work / "my <i> model";
  fs::copy(fs::path(KVVIZ_DATA) / "models/demo", folder);
  const Serving server(scene.work.path(), {"--model", folder.string()});
  const auto models = server.get("/api/models").json().at("models");
  std::vector<std::string> ids;
  for (const auto& model : models) ids.push_back(model["id"]);
  const std::string before = "own/er@" + test::FakeModel().commit;
  REQUIRE(ids.size() == 4);
  CHECK(std::set(ids.begin(), ids.end()) == std::set<std::string>{"demo", "my__i__model", "own/er", before});
  CHECK(entry(models, "demo")["source"] == "shipped");
  CHECK(entry(models, "my__i__model")["source"] == "given");
  CHECK(entry(models, "own/er")["architecture"] == "LlamaForCausalLM");
  const json rows = scene.json({"list"})["rows"];
  for (const json& row : rows)
    if (row["model"] == "own/er")
      CHECK(entry(models, row["revision"] == "main" ? "own/er" : before)["bytes"] == row["bytes"]);

  CHECK(server.get("/api/model").json()["model"]["id"] == "my__i__model");
  for (const std::string& id : ids) CHECK(loaded(server, {{"id", id}}).back().data["id"] == id);
  // Its configuration is there, so its architecture can be shown.
  CHECK(server.get("/api/architecture?id=own/config").status == 200);
  check_refused(server.post("/api/models/load", {{"id", "own/config"}, {"download", false}}), 404,
                "not_found", "own/config is not on this machine");
}

TEST_CASE("[serve models] a GGUF model in parts is one model") {
  Scene scene;
  test::FakeModel parts;
  size_t bytes = 0;
  for (const char* number : {"1", "2", "3"}) {
    const std::string ending = cat("-0000", number, "-of-00003.gguf");
    const std::string contents = read_file(fs::path(KVVIZ_FIXTURES) / "gguf/parts" / ("falcon_40b" + ending));
    parts.files["Q4_0/m-Q4_0" + ending] = {contents, true};
    bytes += contents.size();
  }
  parts.files["m-Q8_0.gguf"] = {read_file(fs::path(KVVIZ_FIXTURES) / "gguf/falcon_7b.gguf"), true};
  scene.hub.add("own/parts", parts);
  const Serving server(scene.work.path(), {"--model", "none"});
  CHECK(server.get("/api/models/info?id=own/parts:Q4_0").json().at("bytes") == bytes);
  REQUIRE(scene.models({"pull", "own/parts", "--gguf", "q4_0"}).code == 0);
  const json row = scene.json({"list"})["rows"][0];
  CHECK(row["files"] == 3);
  CHECK(row["bytes"] == bytes);
  const auto models = [&] { return server.get("/api/models").json().at("models"); };
  CHECK(entry(models(), "own/parts")["bytes"] == bytes);
  CHECK(models().size() == 2);  // the other is demo
  REQUIRE(scene.models({"pull", "own/parts", "--gguf", "q8_0"}).code == 0);
  CHECK(entry(models(), "own/parts:Q4_0/m-Q4_0-00001-of-00003.gguf")["bytes"] == bytes);
  CHECK(entry(models(), "own/parts:m-Q8_0.gguf")["source"] == "cache");
  CHECK(models().size() == 3);
  fs::remove(fs::path(row["folder"].get<std::string>()) / "Q4_0/m-Q4_0-00003-of-00003.gguf");
  CHECK(models().size() == 2);
  CHECK(scene.json({"list"})["rows"][0]["state"] == "1 files missing");
}

TEST_CASE("[serve models] the hub: search, information, the token") {
  Scene scene;
  test::FakeModel known = test::shipped_model();
  known.gated = "auto";
  known.about = R"({"author": "own", "downloads": 7, "likes": 3, "pipeline_tag": "text-generation",
                    "tags": ["a", "b", "c", "d", "e", "license:mit", "g", "h", "i", "j"]})";
  scene.hub.add("own/known", known);
  const Variable token("HF_TOKEN", scene.hub.token);
  Serving server(scene.work.path());

  const auto found =
      server.get("/api/models/search?query=a%20%3Cb%3E%26limit%3D2&limit=7").json().at("models");
  const auto rows = scene.json({"search", "own"})["rows"];
  REQUIRE(found.size() == rows.size());
  for (const json& row : rows) {
    const json& one = entry(found, row["model"]);
    for (const char* name : {"downloads", "likes", "updated"}) CHECK(one[name] == row[name]);
    CHECK((one["gated"] == "" ? "no" : one["gated"]) == row["gated"]);
    CHECK(one["cached"] == (row["cached"] == "yes"));
  }
  const std::string asked = scene.hub.requests().front().target;
  CHECK(holds(asked, "search=a%20%3Cb%3E%26limit%3D2&sort=downloads"));
  CHECK(holds(asked, "&limit=7&filter=text-generation"));
  scene.hub.forget_requests();
  server.get("/api/models/search?query=x&text_generation=false");
  CHECK_FALSE(holds(scene.hub.requests().front().target, "filter="));

  const json card = server.get("/api/models/info?id=own/known").json();
  const int64_t bytes = scene.json({"pull", "own/known", "--dry-run"})["bytes"];
  CHECK(card == json{{"id", "own/known"},
                     {"source", "hub"},
                     {"author", "own"},
                     {"downloads", 7},
                     {"likes", 3},
                     {"gated", "auto"},
                     {"pipeline", "text-generation"},
                     {"tags", {"a", "b", "c", "d", "e", "license:mit", "g", "h"}},
                     {"license", "mit"},
                     {"bytes", bytes},
                     {"cached", false}});
  CHECK(server.get("/api/models/info?id=own/er").json()["license"].is_null());
  check_refused(server.get("/api/models/info?id=no/where"), 422, "unusable", "there is no model no/where");

  known.about = R"({"cardData": {"license": "apache-2.0"}, "tags": 5, "downloads": "many", "likes": -1,
                    "pipeline_tag": {"a": 1}, "author": ["x"]})";
  scene.hub.add("own/odd", known);
  const json odd = server.get("/api/models/info?id=own/odd").json();
  CHECK(odd["license"] == "apache-2.0");
  CHECK(odd["author"] == "own");  // of the name
  CHECK(odd["tags"].empty());
  for (const char* name : {"downloads", "likes", "pipeline"}) CHECK(odd[name].is_null());

  REQUIRE(scene.models({"pull", "own/er"}).code == 0);
  scene.hub.forget_requests();
  const json local = server.get("/api/models/info?id=own/er").json();
  CHECK(local["source"] == "cache");
  CHECK(local["bytes"] == scene.json({"list"})["rows"][0]["bytes"]);
  CHECK(scene.hub.requests().empty());

  const Answer shown = server.get("/api/models/token");
  CHECK(shown.json() == json{{"found", true}, {"source", "HF_TOKEN"}, {"masked", "hf_****1234"}});
  CHECK_FALSE(holds(shown.body, scene.hub.token));
}

TEST_CASE("[serve models] what a download would take") {
  Scene scene;
  const Serving server(scene.work.path(), {"--model", "none"});
  const auto bytes = [&](const std::string& id) {
    return server.get("/api/models/info?id=" + id).json().at("bytes");
  };
  const auto shards = [&](const char* stem, const char* end) {
    test::FakeModel model;
    const std::string first = cat(stem, "-00001-of-00002", end), second = cat(stem, "-00002-of-00002", end);
    model.files = {
        {"config.json", {"{}"}},
        {"README.md", {std::string(500, 'r')}},
        {cat(stem, end, ".index.json"), {json{{"weight_map", {{"a", first}, {"b", second}}}}.dump()}},
        {first, {std::string(3000, 'a'), true}},
        {second, {std::string(2000, 'b'), true}}};
    return model;
  };
  scene.hub.add("own/shards", shards("model", ".safetensors"));
  scene.hub.add("own/torch", shards("pytorch_model", ".bin"));
  for (const char* id : {"own/er", "own/shards", "own/torch"})
    CHECK(bytes(id) == scene.json({"pull", id, "--dry-run"})["bytes"]);
  test::FakeModel gguf;
  gguf.files = {{"m.Q4_K_M.gguf", {std::string(400, 'q'), true}},
                {"m.Q8_0.gguf", {std::string(800, 'q'), true}}};
  scene.hub.add("own/gguf", gguf);
  CHECK(bytes("own/gguf").is_null());  // one has to be named
  CHECK(bytes("own/gguf:Q8_0") == 800);
  test::FakeModel nothing;
  nothing.files = {{"adapter_config.json", {"{}"}}};
  scene.hub.add("own/nothing", nothing);
  CHECK(bytes("own/nothing").is_null());
}

TEST_CASE("[serve models] without a network the routes that need one say so") {
  Scene scene;
  {
    const Variable offline("HF_HUB_OFFLINE", "1");
    const Serving server(scene.work.path());
    for (const char* path : {"/api/models/search?query=x", "/api/models/info?id=own/er"})
      check_refused(server.get(path), 422, "unusable", "HF_HUB_OFFLINE forbids connections");
    check_refused(server.post("/api/models/load", {{"id", "own/er"}}), 422, "unusable",
                  "own/er is not on this machine, and HF_HUB_OFFLINE forbids");
    CHECK(server.get("/api/models/token").json()["found"] == false);
    CHECK(scene.hub.requests().empty());
  }
  const Variable nowhere("HF_ENDPOINT", "http://127.0.0.1:1");
  const Serving server(scene.work.path());
  check_refused(server.get("/api/models/search?query=x"), 422, "unusable", "127.0.0.1:1");
}

TEST_CASE("[serve models] a download with its progress, and a token that opens a gated model") {
  Scene scene;
  test::FakeModel gated = test::shipped_model();
  gated.gated = "auto";
  scene.hub.add("own/gated", gated);
  Serving server(scene.work.path());

  auto events = loaded(server, {{"id", "own/er"}, {"dtype", "bf16"}});
  CHECK(steps_of(events) ==
        std::set<std::string>{"downloading", "reading the tokenizer", "reading the weights"});
  int64_t total = 0;
  for (const Event& event : events)
    if (event.name == "progress" && event.data["what"] == "downloading") {
      CHECK(event.data["done"] <= std::max(event.data["total"].get<int64_t>(), int64_t{0}));
      total = std::max(total, event.data["total"].get<int64_t>());
    }
  CHECK(total == scene.json({"pull", "own/er"})["bytes"]);
  REQUIRE(events.back().name == "result");
  const json& read = events[events.size() - 2].data;
  CHECK(read["what"] == "reading the weights");
  CHECK(read["done"] == read["total"]);
  CHECK(read["total"] == events.back().data["weights_bytes"]);
  CHECK(events.back().data["dtype"] == "bf16");
  const json state = server.get("/api/model").json();
  CHECK(state["state"] == "ready");
  CHECK(state["model"] == events.back().data);
  CHECK(steps_of(loaded(server, {{"id", "own/er"}})) ==
        std::set<std::string>{"reading the tokenizer", "reading the weights"});

  events = loaded(server, {{"id", "own/gated"}});
  REQUIRE(events.back().name == "error");
  CHECK(events.back().data["error"]["status"] == 422);
  CHECK(holds(events.back().data["error"]["message"], "own/gated is gated"));
  CHECK(server.get("/api/model").json()["model"]["id"] == "own/er");
  CHECK(holds(server.get("/api/model").json()["error"], "own/gated is gated"));

  const std::string wrong = "hf_wrongWRONGwrongWRONG0000";
  const Answer denied = server.post("/api/models/load", {{"id", "own/gated"}, {"token", wrong}});
  CHECK(events_in(denied.body).back().name == "error");
  CHECK_FALSE(holds(denied.body, wrong));
  const Answer opened = server.post("/api/models/load", {{"id", "own/gated"}, {"token", scene.hub.token}});
  CHECK(events_in(opened.body).back().name == "result");
  CHECK(server.get("/api/models/token").json()["found"] == false);  // it was for that call
  const std::string said =
      opened.body + server.get("/api/model").body + server.process().out() + server.process().err();
  CHECK_FALSE(holds(said, scene.hub.token));
  CHECK_FALSE(server.get("/api/model").json().contains("error"));
}

TEST_CASE("[serve models] one load at a time; a client that goes away ends its download") {
  Scene scene;
  make_slow(scene.hub);
  const Serving server(scene.work.path());
  const auto state = [&] { return server.get("/api/model").json(); };
  const auto downloads = [&] {
    const json now = state();
    return now["state"] == "loading" && now["progress"]["what"] == "downloading" &&
           now["progress"]["done"] > 0;
  };
  Leaving client(server, {{"id", "own/er"}});
  REQUIRE(eventually(downloads));
  const json during = state();
  CHECK(during["loading"] == "own/er");
  CHECK(during["progress"]["total"] > 2'000'000);
  CHECK(during["model"]["id"] == "demo");  // stays until the new one is there
  CHECK(server.post("/api/tokenize", {{"text", "a"}}).status == 200);
  check_refused(server.post("/api/models/load", {{"id", "demo"}}), 409, "conflict", "own/er is being loaded");
  client.go();
  REQUIRE(eventually([&] { return state()["state"] == "ready"; }, std::chrono::seconds(8)));
  CHECK(holds(state()["error"], "cancelled"));
  CHECK(state()["model"]["id"] == "demo");
  CHECK_FALSE(fs::exists(scene.model / "refs/main"));
  scene.hub.clear_faults();
  const auto events = loaded(server, {{"id", "own/er"}});
  CHECK_MESSAGE(events.back().name == "result", events.back().data.dump());
}

TEST_CASE("[serve models] unloading, and loading while others read") {
  const Scene scene;
  const Serving server(scene.work.path());
  const json none = server.post("/api/models/unload", json::object()).json();
  CHECK(none == json{{"state", "none"}, {"model", nullptr}});
  CHECK(server.get("/api/health").json()["model"].is_null());
  for (const char* path : {"/api/attention", "/api/attention/layers", "/api/tokenize"})
    check_refused(server.post(path, {{"text", "a"}}), 409, "conflict", "no model is loaded");
  check_refused(server.post("/api/profile", json::object()), 409, "conflict", "no model is loaded");
  check_refused(server.get("/api/architecture"), 409, "conflict", "no model is loaded");
  CHECK(server.get("/api/architecture?id=demo").status == 200);
  CHECK(server.post("/api/profile", {{"id", "demo"}}).status == 200);
  CHECK(server.post("/api/models/unload", json::object()).status == 200);

  std::atomic<bool> end{false};
  std::atomic<int> answered{0}, wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      while (!end) {
        const int status = server.post("/api/attention/layers", {{"text", "Once upon a time"}}).status;
        ++(status == 200 || status == 409 || status == 429 ? answered : wrong);
        if (server.get("/api/model").status != 200) ++wrong;
      }
    });
  for (int i = 0; i < 12; ++i) {
    CHECK(loaded(server, {{"id", "demo"}, {"dtype", i % 2 == 0 ? "f32" : "bf16"}}).back().name == "result");
    if (i % 3 == 0) CHECK(server.post("/api/models/unload", json::object()).status == 200);
  }
  end = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(answered > 10);
  CHECK(wrong == 0);
  CHECK(server.get("/api/model").json()["model"]["dtype"] == "bf16");
}

TEST_CASE("[serve models] a model of the command line that is not there") {
  Scene scene;
  {
    Serving server(scene.work.path(), {"--model", "own/nothing"});
    const json state = server.get("/api/model").json();
    CHECK(state["state"] == "none");
    CHECK(holds(state["error"], "own/nothing is not in the local Hugging Face cache"));
    CHECK(holds(server.process().err(), "own/nothing is not in the local Hugging Face cache"));
    check_refused(server.post("/api/tokenize", {{"text", "a"}}), 409, "conflict", "own/nothing");
    CHECK_FALSE(server.post("/api/models/unload", json::object()).json().contains("error"));
    CHECK(loaded(server, {{"id", "demo"}}).back().name == "result");
  }
  REQUIRE(scene.models({"pull", "own/er", "--no-weights"}).code == 0);
  scene.hub.forget_requests();
  const Serving server(scene.work.path(), {"--model", "own/er"});
  CHECK(holds(server.get("/api/model").json()["error"], "kvviz models pull own/er"));
  CHECK(scene.hub.requests().empty());  // only a request may download
  CHECK(loaded(server, {{"id", "own/er"}}).back().name == "result");
}

TEST_CASE("[serve models] bad requests") {
  const Scene scene;
  fs::copy(fs::path(KVVIZ_DATA) / "models/demo", scene.work / "secret");
  const Serving server(scene.work.path());
  struct Case {
    const char* path;
    json fields;
    int status;
    const char* words;
  };
  const Case cases[] = {
      {"/api/models/load", json::object(), 400, "id is missing"},
      {"/api/models/load", {{"id", 7}}, 400, "id is 7; expected a text"},
      {"/api/models/load", {{"id", ""}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", std::string(500, 'a')}}, 400, "500 bytes"},
      {"/api/models/load", {{"id", "secret"}, {"download", false}}, 404, "secret is not on this machine"},
      {"/api/models/load", {{"id", "./secret"}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", "../../etc/passwd"}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", "/etc/passwd"}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", (scene.work / "secret").string()}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", "own/er@../../x"}}, 400, "is no id of a model"},
      {"/api/models/load", {{"id", "<img src=x>"}}, 400, "'<img src=x>' is no id of a model"},
      {"/api/models/load", {{"id", "none"}, {"download", false}}, 404, "none is not on this machine"},
      {"/api/models/load", {{"id", "demo"}, {"device", "gpu"}}, 400, "expected one of auto, cpu, cuda, mps"},
      {"/api/models/load", {{"id", "demo"}, {"dtype", "int8"}}, 400, "expected one of auto, f32, bf16, f16"},
      {"/api/models/load", {{"id", "demo"}, {"download", 1}}, 400, "expected true or false"},
      {"/api/models/load", {{"id", "demo"}, {"token", "a b"}}, 400, "token holds white space"},
      {"/api/models/load", {{"id", "demo"}, {"token", 987654321}}, 400, "token is no text"},
      {"/api/models/load", {{"id", "demo"}, {"path", "/etc"}}, 400, "\"path\" is no field"},
      {"/api/models/unload", {{"id", "demo"}}, 400, "\"id\" is no field"},
      {"/api/tokenize", json::object(), 400, "text is missing"},
      {"/api/tokenize", {{"text", std::string(200'001, 'a')}}, 400, "at most 200000"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.path);
    CAPTURE(one.fields.dump().substr(0, 80));
    const Answer answer = server.post(one.path, one.fields);
    check_refused(answer, one.status, one.status == 404 ? "not_found" : "bad_request", one.words);
    CHECK_FALSE(holds(answer.body, "987654321"));
  }
  const std::pair<const char*, const char*> queries[] = {
      {"/api/models/search", "query is missing"},
      {"/api/models/search?query=a&limit=101", "from 1 to 100"},
      {"/api/models/search?query=a&limit=x", "from 1 to 100"},
      {"/api/models/search?query=a&text_generation=1", "expected true or false"},
      {"/api/models/search?query=a&sort=likes", "\"sort\" is no field"},
      {"/api/models/info", "id is missing"},
      {"/api/models/token?x=1", "\"x\" is no field"},
      {"/api/models?x=1", "\"x\" is no field"},
      {"/api/samples?x=1", "\"x\" is no field"},
  };
  for (const auto& [path, words] : queries) check_refused(server.get(path), 400, "bad_request", words);
  for (const char* id : {"../demo", "x%2F..%2Fy", "%3Cscript%3E", "secret"})
    check_refused(server.get(std::string("/api/architecture?id=") + id), 404, "not_found",
                  "there is no model");
  for (const char* id : {"../demo", "%3Cscript%3E"})
    check_refused(server.get(std::string("/api/models/info?id=") + id), 404, "not_found",
                  "there is no model");
  CHECK(scene.hub.requests().empty());
  CHECK(server.get("/api/model").json()["model"]["id"] == "demo");
}
