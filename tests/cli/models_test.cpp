// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "cli/hub_scene.hpp"
#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/fake_hub.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::Finished;
using test::first;
using test::holds;
using test::run_kvviz;
using test::shipped_model;
using test::Variable;
using Scene = test::HubScene;
namespace fs = std::filesystem;

TEST_CASE("[models] a newcomer searches, pulls, analyses, lists and removes") {
  const Scene scene;
  const auto found = scene.json({"search", "own", "er"});
  REQUIRE(found["rows"].size() == 1);
  CHECK(found["rows"][0]["model"] == "own/er");
  CHECK(found["rows"][0]["cached"] == "no");
  const Finished pull = scene.models({"pull", "own/er"});
  REQUIRE_MESSAGE(pull.code == 0, pull.err);
  CHECK(pull.err.empty());
  CHECK(holds(pull.out, "Next: kvviz analyze --model own/er"));
  const Finished analyze = scene.run(
      {"analyze", "--model", "own/er", "--prompt", "Once upon a time", "--focus", "layers", "--no-plots"});
  CHECK_MESSAGE(analyze.code == 0, analyze.err);
  const auto list = scene.json({"list"});
  REQUIRE(list["rows"].size() == 1);
  const auto& row = list["rows"][0];
  CHECK(row["model"] == "own/er");
  CHECK(row["revision"] == "main");
  CHECK(row["type"] == "llama");
  CHECK(row["state"] == "whole");
  CHECK(row["bytes"] > 100000);
  CHECK(fs::exists(fs::path(row["folder"].get<std::string>()) / "config.json"));
  CHECK(scene.json({"search", "own"})["rows"][0]["cached"] == "yes");
  CHECK(holds(scene.models({"list"}).out, "1 model, "));
  const Finished near = scene.run({"analyze", "--model", "own/err", "--prompt", "a"});
  CHECK(holds(near.err, "did you mean own/er?"));
  CHECK(holds(scene.models({"rm", "no/thing"}).err, "no/thing is not in the local Hugging Face cache"));
  const Finished asked = scene.models({"rm", "own/er"});  // no terminal to ask
  CHECK(asked.code == 2);
  CHECK(holds(asked.err, "--yes"));
  const auto removed = scene.json({"rm", "own/er", "--yes"});
  CHECK(removed["bytes"] > 100000);
  CHECK_FALSE(fs::exists(scene.model));
  CHECK(scene.models({"rm", "own/er", "--yes"}).code == 1);
  CHECK(scene.json({"list"})["rows"].empty());
}

TEST_CASE("[models] pull says what it would do, takes the configuration alone, and names revisions") {
  const Scene scene;
  const std::string commit = test::FakeModel{}.commit;
  const auto plan = scene.json({"pull", "own/er", "--dry-run"});
  CHECK(plan["commit"] == commit);
  CHECK(plan["weights"] == "safetensors");
  CHECK(plan["missing"] == plan["bytes"]);
  CHECK_FALSE(fs::exists(scene.cache));
  const auto small = scene.json({"pull", "own/er", "--no-weights", "--revision", commit});
  CHECK(small["weights"] == "");
  CHECK(small["received"] < 200000);
  CHECK_FALSE(fs::exists(scene.model / "refs/main"));
  CHECK(scene.json({"list"})["rows"][0]["state"] == "no weights");
  const Finished bare = scene.run({"analyze", "--model", "own/er@" + commit, "--prompt", "a", "--no-plots"});
  CHECK(bare.code == 1);
  CHECK(holds(bare.err, "own/er@" + commit + " is in the local Hugging Face cache without weights"));
  CHECK(holds(bare.err, "kvviz models pull own/er@" + commit + " fetches them"));
  CHECK(scene.run({"profile", "--model", "own/er@" + commit, "--no-plots"}).code == 0);
  const Finished missing = scene.run({"profile", "--model", "own/er", "--no-plots"});
  CHECK(missing.code == 1);
  CHECK(holds(missing.err, "kvviz models pull own/er"));
  CHECK(scene.json({"pull", "own/er@main"})["revision"] == "main");
}

TEST_CASE("[models] offline nothing is asked: the cache alone answers") {
  Scene scene;
  CHECK(scene.models({"pull", "own/er", "--offline"}).code == 1);
  REQUIRE(scene.models({"pull", "own/er"}).code == 0);
  scene.hub.forget_requests();
  const Finished there = scene.models({"pull", "own/er", "--offline"});
  CHECK(there.code == 0);
  CHECK(holds(there.out, scene.model.string()));
  const Variable offline{"HF_HUB_OFFLINE", "1"};
  CHECK(holds(scene.json({"pull", "own/er"})["offline"], "HF_HUB_OFFLINE"));
  const Finished search = scene.models({"search", "x"});
  CHECK(search.code == 1);
  CHECK(holds(search.err, "HF_HUB_OFFLINE forbids"));
  CHECK(scene.run({"profile", "--model", "own/er", "--no-plots"}).code == 0);
  CHECK(scene.hub.requests().empty());
}

TEST_CASE("[models] a gated model is explained, a token opens it, is shown masked and not to the storage") {
  Scene scene;
  auto gated = shipped_model();
  gated.gated = "auto";
  scene.hub.add("g/model", gated);
  const Finished refused = scene.models({"pull", "g/model"});
  CHECK(refused.code == 1);
  CHECK(holds(refused.err, "g/model is gated: accept its terms at " + scene.hub.endpoint() + "/g/model"));
  write_file(scene.work / ".env", "HF_TOKEN=" + scene.hub.token + "\n");
  const Finished pull = scene.models({"pull", "g/model"});
  CHECK_MESSAGE(pull.code == 0, pull.err);
  CHECK(holds(pull.err, "with the token hf_****1234 (HF_TOKEN of "));
  CHECK_FALSE(holds(pull.out + pull.err, scene.hub.token));
  CHECK(scene.models({"pull", "g/model", "--quiet"}).err.empty());
  bool sent = false;
  for (const test::Seen& seen : scene.hub.requests()) {
    sent = sent || !seen.authorization.empty();
    if (seen.at_storage) CHECK(seen.authorization.empty());
  }
  CHECK(sent);
  const Variable wrong{"HF_TOKEN", "hf_wrongWRONGwrongWRONG0000"};
  const Finished denied = scene.models({"pull", "own/er"});
  CHECK(denied.code == 1);
  CHECK(holds(denied.err, "does not accept the access token"));
  CHECK_FALSE(holds(denied.err, "hf_wrongWRONG"));
}

TEST_CASE("[models] mistakes of the command line end with 2, those of the hub and the network with 1") {
  Scene scene;
  const std::pair<std::vector<std::string>, const char*> mistakes[] = {
      {{"serach", "x"}, "unknown command or argument serach; did you mean search?; commands: search, "},
      {{"pull"}, "got no id, expected name or owner/name at the hub"},
      {{"pull"}, "e.g. kvviz models pull Qwen/Qwen2.5-0.5B\nTry: kvviz models pull --help\n"},
      {{"search"}, "e.g. kvviz models search qwen 0.5b"},
      {{"pull", "https://huggingface.co/own/er"}, "is an address; the model's name is own/er"},
      {{}, "Usage: kvviz models "},
      {{"pull", "../x"}, "is no id of a model"},
      {{"pull", "a/b", "--revision", "x y"}, "revision 'x y'"},
      {{"pull", "a/b@c", "--revision", "d"}, "give the revision once"},
      {{"pull", "a/b:c", "--gguf", "d"}, "give the file once"},
      {{"pull", "a/b:c", "--no-weights"}, "--no-weights"},
      {{"pull", "a/b", "--conections", "3"}, "did you mean --connections?"},
      {{"pull", "a/b", "c"}, "options: kvviz models pull --help"},
      {{"search", "a", "--sort", "size"}, "downloads"},
      {{"rm", "a/b@c", "--yes"}, "with all its revisions"},
      {{"list", "x"}, "options: kvviz models list --help"},
  };
  for (const auto& [arguments, message] : mistakes) {
    CAPTURE(message);
    const Finished done = scene.models(arguments);
    CHECK(done.code == 2);
    CHECK(done.out.empty());
    CHECK_MESSAGE(holds(done.err, message), done.err);
  }
  CHECK(scene.hub.requests().empty());
  CHECK(holds(scene.models({"pull", "--help"}).out, "--revision"));
  const Finished none = scene.models({"pull", "no/model"});
  CHECK(none.code == 1);
  CHECK(holds(none.err, "there is no model no/model"));
  {
    const Variable nonsense{"HF_ENDPOINT", "hub.example"};
    CHECK(scene.models({"search", "x"}).code == 2);
  }
  const Variable nowhere{"HF_ENDPOINT", "http://127.0.0.1:1"};
  const Finished unreachable = scene.models({"pull", "own/er"});
  CHECK(unreachable.code == 1);
  CHECK(holds(unreachable.err, "cannot reach http://127.0.0.1:1"));
}

TEST_CASE("[models] a pull that is killed leaves nothing that looks whole, and the next one goes on") {
  Scene scene;
  const std::string weights = shipped_model().files.at("model.safetensors").contents;
  scene.hub.fault(first(1, "GET", "/store/", [&weights](httplib::Response& r) {
    r.status = 200;
    r.set_content_provider(
        weights.size(), "binary/octet-stream", [&weights](size_t offset, size_t, httplib::DataSink& sink) {
          if (offset > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
          return sink.write(weights.data() + offset, std::min<size_t>(10000, weights.size() - offset));
        });
  }));
  const std::string blob = (scene.model / "blobs" / test::sha256_hex(weights)).string(),
                    partial = blob + ".incomplete";
  const char* arguments[] = {KVVIZ_EXECUTABLE, "models", "pull", "own/er", "--quiet", nullptr};
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, KVVIZ_EXECUTABLE, nullptr, nullptr, const_cast<char**>(arguments), environ) ==
          0);
  for (int i = 0; i < 500 && !(fs::exists(partial) && fs::file_size(partial) > 50000); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  REQUIRE(fs::exists(partial));
  const auto there = fs::file_size(partial);
  CHECK(there > 50000);
  CHECK_FALSE(fs::exists(blob));
  CHECK_FALSE(fs::exists(scene.model / "refs"));
  CHECK_FALSE(fs::exists(scene.model / "snapshots"));
  CHECK(scene.run({"profile", "--model", "own/er", "--no-plots"}).code == 1);
  CHECK(scene.json({"list"})["rows"][0]["state"] == "incomplete");
  CHECK(holds(scene.models({"list"}).out, "broken off"));
  const auto again = scene.json({"pull", "own/er"});
  CHECK(again["received"].get<size_t>() < weights.size());
  CHECK(read_file(blob) == weights);
  CHECK_FALSE(fs::exists(partial));
}

TEST_CASE("[models] two pulls in two processes do not disturb each other") {
  const Scene scene;
  std::vector<Finished> done(3);
  {
    std::vector<std::jthread> threads;
    for (Finished& one : done) threads.emplace_back([&] { one = scene.models({"pull", "own/er"}); });
  }
  for (const Finished& one : done) CHECK_MESSAGE(one.code == 0, one.err);
  for (const auto& entry : fs::directory_iterator(scene.model / "blobs")) {
    const std::string contents = read_file(entry.path()), name = entry.path().filename().string();
    CHECK((test::sha256_hex(contents) == name || test::git_blob_hex(contents) == name));
  }
}

TEST_CASE("[models] what a server says does not reach the terminal as control characters") {
  Scene scene;
  scene.hub.fault(first(1, "GET", "/api/models", [](auto& r) {
    r.status = 200;
    r.set_content("\x1b]0;owned\x07<html>", "text/html\x1b[31m");
  }));
  const Finished done = scene.models({"search", "x"});
  CHECK(done.code == 1);
  CHECK(done.err.find('\x1b') == std::string::npos);
  CHECK(holds(done.err, "does not answer as a hub does"));
}
