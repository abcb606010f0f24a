// SPDX-License-Identifier: MIT
#include "kvviz/download/pull.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "kvviz/hub/cache.hpp"
#include "unit/download/pulling.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;
using test::TemporaryFolder;
namespace fs = std::filesystem;

TEST_CASE("[download] pull makes the cache that Python makes, and takes no more than is needed") {
  test::FakeHub hub;
  hub.add("own/er", test::small_model());
  const TemporaryFolder cache;
  int64_t done = 0, total = 0;
  const PullResult result = hub::pull(test::settings_of(hub), {.name = {"own/er"}, .cache = cache.path()},
                                      [&](int64_t now, int64_t all) {
                                        done = now;
                                        total = all;
                                      });
  const fs::path model = cache / "models--own--er", snapshot = model / "snapshots" / test::commit;
  CHECK(result.folder == snapshot);
  CHECK(result.commit == test::commit);
  CHECK(result.weights == "safetensors");
  CHECK(result.files.size() == 3);
  CHECK(result.bytes == result.received);
  CHECK(done == total);
  CHECK(total == result.bytes);
  CHECK(read_file(model / "refs/main") == test::commit);
  CHECK(test::names_in(snapshot) ==
        std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"});
  CHECK(fs::read_symlink(snapshot / "model.safetensors") ==
        "../../blobs/" + test::sha256_hex(test::weights()));
  CHECK(fs::read_symlink(snapshot / "config.json") == "../../blobs/" + test::git_blob_hex(test::config));
  CHECK(read_file(snapshot / "model.safetensors") == test::weights());
  CHECK(read_file(snapshot / "config.json") == test::config);
  CHECK(test::names_in(model / "blobs").size() == 3);
}

TEST_CASE("[download] what is there is not downloaded again; --verify finds damage") {
  test::FakeHub hub;
  hub.add("own/er", test::small_model());
  const TemporaryFolder cache;
  const PullResult once = test::pull_from(hub, cache.path());
  hub.forget_requests();
  const PullResult again = test::pull_from(hub, cache.path());
  CHECK(again.received == 0);
  CHECK(again.missing == 0);
  for (const test::Seen& seen : hub.requests()) CHECK_FALSE(seen.at_storage);
  std::string damaged = test::weights();
  damaged[100] ^= 1;
  write_file(cache / "models--own--er/blobs" / test::sha256_hex(test::weights()), damaged);
  CHECK(test::pull_from(hub, cache.path()).received == 0);
  PullOptions options{.name = {"own/er"}, .cache = cache.path(), .verify = true};
  CHECK(hub::pull(test::settings_of(hub), options, [](int64_t, int64_t) {}).received ==
        static_cast<int64_t>(test::weights().size()));
  CHECK(read_file(once.folder / "model.safetensors") == test::weights());
}

TEST_CASE("[download] shards, revisions, GGUF files and configurations alone") {
  test::FakeHub hub;
  test::FakeModel sharded;
  sharded.files = {{"config.json", {test::config}},
                   {"model.safetensors.index.json",
                    {R"({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})"}},
                   {"m-1.safetensors", {"one", true}},
                   {"m-2.safetensors", {"two", true}},
                   {"x/a-Q8_0.gguf", {"gguf", true}},
                   {"y/a-Q4_0-00001-of-00002.gguf", {"first", true}},
                   {"y/a-Q4_0-00002-of-00002.gguf", {"second", true}}};
  sharded.revision = "refs/pr/7";
  hub.add("s/h", sharded);
  const TemporaryFolder cache;
  const auto pulled = [&](PullOptions options) {
    options.name.id = "s/h";
    options.name.revision = "refs/pr/7";
    options.cache = cache.path();
    return hub::pull(test::settings_of(hub), options, [](int64_t, int64_t) {});
  };
  const PullResult plan = pulled({.dry_run = true});
  CHECK(plan.bytes > 6);
  CHECK_FALSE(fs::exists(plan.folder));
  CHECK(pulled({.weights = false}).files.size() == 1);
  const PullResult all = pulled({});
  CHECK(test::names_in(all.folder) == std::vector<std::string>{"config.json", "m-1.safetensors",
                                                               "m-2.safetensors",
                                                               "model.safetensors.index.json"});
  CHECK(read_file(cache / "models--s--h/refs/refs/pr/7") == test::commit);
  const PullResult gguf = pulled({.name = {.gguf = "q8_0"}});
  CHECK(gguf.files.size() == 1);
  CHECK(read_file(gguf.folder / "x/a-Q8_0.gguf") == "gguf");
  CHECK(fs::read_symlink(gguf.folder / "x/a-Q8_0.gguf") == "../../../blobs/" + test::sha256_hex("gguf"));
  const PullResult parts = pulled({.name = {.gguf = "q4_0"}});
  CHECK(parts.bytes == 11);
  CHECK(test::names_in(parts.folder / "y") ==
        std::vector<std::string>{"a-Q4_0-00001-of-00002.gguf", "a-Q4_0-00002-of-00002.gguf"});
  CHECK(cached_model_path(cache.path(), {"s/h", "refs/pr/7", "q4_0"}) ==
        parts.folder / "y/a-Q4_0-00001-of-00002.gguf");
}

TEST_CASE("[download] refusals are explained: gated, wrong token, no model, no revision") {
  test::FakeHub hub;
  hub.add("g/auto", test::small_model("auto"));
  hub.add("g/manual", test::small_model("manual"));
  hub.add("own/er", test::small_model());
  const TemporaryFolder cache;
  const auto message = [&](const ModelName& name, const std::string& token) {
    return message_of<DataError>([&] {
      hub::pull(test::settings_of(hub, token), {.name = name, .cache = cache.path()},
                [](int64_t, int64_t) {});
    });
  };
  CHECK(holds(message({"g/auto"}, ""), "is gated: accept its terms at " + hub.endpoint() + "/g/auto"));
  CHECK(holds(message({"g/auto"}, ""), "set HF_TOKEN"));
  CHECK(message({"g/auto"}, hub.token).empty());
  CHECK(holds(message({"g/manual"}, hub.token),
              "use a token of that account; the token hf_****1234 (a test) was sent"));
  const std::string wrong = "hf_thisIsNotTheRightOne999";
  CHECK(holds(message({"own/er"}, wrong), "does not accept the access token"));
  CHECK_FALSE(holds(message({"own/er"}, wrong), wrong));
  CHECK(holds(message({"no/model"}, ""), "there is no model no/model"));
  CHECK(holds(message({"no/model"}, hub.token), "or it is private"));
  CHECK(holds(message({"own/er", "v2"}, ""), "own/er has no revision v2"));
  CHECK_FALSE(fs::exists(cache / "models--no--model"));
  CHECK_FALSE(fs::exists(cache / "models--g--manual/snapshots"));
}

TEST_CASE("[download] two pulls at once, in threads of one process, end with one whole model") {
  test::FakeHub hub;
  hub.add("own/er", test::small_model());
  const TemporaryFolder cache;
  std::vector<PullResult> results(4);
  std::vector<std::string> failures(results.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < results.size(); ++i)
      threads.emplace_back([&, i] {
        failures[i] = message_of<std::exception>([&] { results[i] = test::pull_from(hub, cache.path()); });
      });
  }
  for (const std::string& failure : failures) CHECK(failure == "");
  int64_t received = 0;
  for (const PullResult& result : results) {
    received += result.received;
    CHECK(read_file(result.folder / "model.safetensors") == test::weights());
  }
  CHECK(received == results[0].bytes);  // each content came once
  CHECK(test::names_in(cache / "models--own--er/blobs").size() == 3);
}

TEST_CASE("[download] a search lists models, and leaves out what is no id") {
  test::FakeHub hub;
  hub.add("a/b", test::small_model());
  hub.add("c/d", test::small_model("auto"));
  hub.add("../../x", test::small_model());
  HttpClient client(test::settings_of(hub));
  const auto found = search_models(client, {.query = "a b&c", .limit = 3});
  REQUIRE(found.size() == 2);
  CHECK(found[0].id == "a/b");
  CHECK(found[0].downloads == 1234);
  CHECK(found[0].updated == "2024-09-25");
  CHECK(found[1].gated == "auto");
  const std::string target = hub.requests().front().target;
  for (const char* part : {"search=a%20b%26c", "limit=3", "filter=text-generation", "sort=downloads"})
    CHECK_MESSAGE(holds(target, part), target);
}
