// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "unit/download/pulling.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::cut_after;
using test::FakeHub;
using test::first;
using test::holds;
using test::message_of;
using test::Seen;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

struct Scene {
  FakeHub hub;
  TemporaryFolder outer;  // beside the cache lies what must not be touched
  fs::path cache = outer / "cache", model = cache / "models--own--er";
  fs::path blob = model / "blobs" / test::sha256_hex(test::weights());

  Scene() { hub.add("own/er", test::small_model()); }

  std::string failure() {
    return message_of<DataError>([&] { test::pull_from(hub, cache); });
  }
  void check_whole(const PullResult& result) const {
    CHECK(read_file(result.folder / "model.safetensors") == test::weights());
    CHECK_FALSE(fs::exists(blob.string() + ".incomplete"));
  }
  /// No model can be found, no content lies under its final name that is not it, nothing is outside.
  void check_nothing_wrong() const {
    CHECK_FALSE(fs::exists(model / "snapshots"));
    CHECK_FALSE(fs::exists(model / "refs"));
    for (const std::string& name : test::names_in(model / "blobs")) {
      if (name.ends_with(".incomplete")) continue;
      const std::string contents = read_file(model / "blobs" / name);
      CHECK((test::sha256_hex(contents) == name || test::git_blob_hex(contents) == name));
    }
    for (const auto& entry : fs::directory_iterator(outer.path())) CHECK(entry.path() == cache);
  }
  std::vector<Seen> downloads() const {
    auto seen = hub.requests();
    std::erase_if(seen, [](const Seen& one) { return !one.at_storage; });
    return seen;
  }
};

}  // namespace

TEST_CASE("[download] a connection that is cut is taken up where it was") {
  Scene scene;
  scene.hub.fault(first(1, "GET", "/store/", [](auto& r) { cut_after(r, test::weights(), 250000); }));
  scene.check_whole(test::pull_from(scene.hub, scene.cache));
  const auto downloads = scene.downloads();
  REQUIRE(downloads.size() == 2);
  CHECK(downloads[0].range.empty());
  CHECK(downloads[1].range.starts_with("bytes="));
  const long from = std::stol(downloads[1].range.substr(6));
  CHECK(from > 0);
  CHECK(from <= 250000);
}

TEST_CASE("[download] a pull that failed goes on in the next one") {
  Scene scene;
  scene.hub.fault(first(1, "GET", "/store/", [](auto& r) { cut_after(r, test::weights(), 400000); }));
  scene.hub.fault(first(1, "GET", "/store/", [](auto& r) { r.status = 403; }));
  CHECK(holds(scene.failure(), "model.safetensors: "));
  scene.check_nothing_wrong();
  REQUIRE(fs::exists(scene.blob.string() + ".incomplete"));
  const auto there = static_cast<int64_t>(fs::file_size(scene.blob.string() + ".incomplete"));
  CHECK(there > 0);
  const PullResult result = test::pull_from(scene.hub, scene.cache);
  scene.check_whole(result);
  CHECK(result.missing == static_cast<int64_t>(test::weights().size()) - there);
  CHECK(result.received == result.missing);
}

TEST_CASE("[download] a connection that is always cut ends with an error, in bounded time") {
  Scene scene;
  scene.hub.fault(first(1000, "GET", "/store/", [](auto& r) { cut_after(r, test::weights(), 0); }));
  const std::string message = scene.failure();
  CHECK_MESSAGE(holds(message, "model.safetensors: "), message);
  CHECK(scene.downloads().size() == 6);
  scene.check_nothing_wrong();
}

TEST_CASE("[download] an answer to a range is checked: 206 of another place, 200 with all of it, 416") {
  const auto begun = [](Scene& scene) {
    write_file(scene.blob.string() + ".incomplete", test::weights().substr(0, 1000));
  };
  SUBCASE("206 from another byte is thrown away") {
    Scene scene;
    begun(scene);
    scene.hub.fault(first(1, "GET", "/store/", [](auto& r) {
      r.status = 206;
      r.set_header("Content-Range", "bytes 900-599999/600000");
      r.set_content(test::weights().substr(900), "binary/octet-stream");
    }));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
  SUBCASE("206 that nobody asked for is thrown away") {
    Scene scene;
    scene.hub.fault(first(1, "GET", "/store/", [](auto& r) {
      r.status = 206;
      r.set_header("Content-Range", "bytes 0-99/600000");
      r.set_content(test::weights().substr(0, 100), "binary/octet-stream");
    }));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
  SUBCASE("200 begins anew") {
    Scene scene;
    begun(scene);
    scene.hub.fault(
        first(1, "GET", "/store/", [](auto& r) { cut_after(r, test::weights(), test::weights().size()); }));
    const PullResult result = test::pull_from(scene.hub, scene.cache);
    scene.check_whole(result);
    CHECK(result.received >= static_cast<int64_t>(test::weights().size()));
  }
  SUBCASE("416 begins anew") {
    Scene scene;
    begun(scene);
    scene.hub.fault(first(1, "GET", "/store/", [](auto& r) { r.status = 416; }));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
    CHECK(scene.downloads().back().range.empty());
  }
}

TEST_CASE("[download] what lies there incomplete and is wrong or too long is replaced") {
  for (const size_t size : {size_t{1000}, test::weights().size(), test::weights().size() + 5}) {
    CAPTURE(size);
    Scene scene;
    write_file(scene.blob.string() + ".incomplete", std::string(size, 'x'));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
}

TEST_CASE("[download] wrong contents are downloaded once more, then it is an error, and nothing is kept") {
  std::string wrong = test::weights();
  wrong[300000] ^= 1;
  const auto send_wrong = [wrong](httplib::Response& r) {
    r.status = 200;
    r.set_content(wrong, "binary/octet-stream");
  };
  SUBCASE("once") {
    Scene scene;
    scene.hub.fault(first(1, "GET", "/store/", send_wrong));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
    CHECK(scene.downloads().size() == 2);
  }
  SUBCASE("always") {
    Scene scene;
    scene.hub.fault(first(1000, "GET", "/store/", send_wrong));
    CHECK(holds(scene.failure(), "what arrives is not the file: its SHA-256"));
    CHECK(scene.downloads().size() == 2);
    scene.check_nothing_wrong();
    CHECK_FALSE(fs::exists(scene.blob.string() + ".incomplete"));
  }
  SUBCASE("of a small file, by git's hash") {
    Scene scene;
    scene.hub.fault(first(1000, "GET", "config.json", [](auto& r) {
      r.status = 200;
      r.set_content(std::string(test::config.size(), ' '), "text/plain");
    }));
    CHECK(holds(scene.failure(), "config.json: what arrives is not the file: its git hash"));
    scene.check_nothing_wrong();
  }
}

TEST_CASE("[download] contents of another size, or a web page, are an error, and nothing is kept") {
  for (const std::string& contents :
       {test::weights() + "more", test::weights().substr(0, 1000),
        std::string("<html>Please log in to this network</html>"), std::string()}) {
    CAPTURE(contents.size());
    Scene scene;
    scene.hub.fault(first(1000, "GET", "/store/", [contents](auto& r) {
      r.status = 200;
      r.set_content(contents, "text/html");
    }));
    const std::string message = scene.failure();
    CHECK_MESSAGE((holds(message, "bytes where") || holds(message, "not the file")), message);
    CHECK(scene.downloads().size() <= 7);
    scene.check_nothing_wrong();
  }
}

TEST_CASE("[download] troubles that pass are waited out: 429, 500, 503") {
  for (const int status : {429, 500, 503}) {
    Scene scene;
    for (const char* where : {"/api/models", "/resolve/", "/store/"})
      scene.hub.fault(first(2, "", where, [status](auto& r) { r.status = status; }));
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
}

TEST_CASE("[download] without an ETag the listed hash is used; without any hash nothing is downloaded") {
  const auto no_etag = [](const Seen& seen, httplib::Response& response) {
    if (seen.method != "HEAD" || !holds(seen.target, "/resolve/")) return false;
    response.status = 200;
    response.set_header("ETag", "\"some-mirror\"");
    response.set_header("X-Linked-Size", "");
    return true;
  };
  const auto no_listed_hash = [](const Seen& seen, httplib::Response& response) {
    if (!holds(seen.target, "/api/models")) return false;
    response.status = 200;
    response.set_content(
        nlohmann::json{{"id", "own/er"},
                       {"sha", test::commit},
                       {"siblings", {{{"rfilename", "config.json"}}, {{"rfilename", "model.safetensors"}}}}}
            .dump(),
        "application/json");
    return true;
  };
  SUBCASE("listed") {
    Scene scene;
    scene.hub.fault([&](const Seen& seen, httplib::Response& r) {
      if (!no_etag(seen, r)) return false;
      r.headers.erase("X-Linked-Size");
      const bool large = holds(seen.target, "safetensors");
      r.set_header("X-Linked-Size", std::to_string(large                          ? test::weights().size()
                                                   : holds(seen.target, "config") ? test::config.size()
                                                                                  : 2));
      return true;
    });
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
  SUBCASE("none") {
    Scene scene;
    scene.hub.fault(no_etag);
    scene.hub.fault(no_listed_hash);
    CHECK(holds(scene.failure(), "tells no hash of its contents (ETag 'some-mirror')"));
    scene.check_nothing_wrong();
    CHECK(test::names_in(scene.model / "blobs").empty());
  }
  SUBCASE("the ETag alone") {
    Scene scene;
    scene.hub.fault(no_listed_hash);
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
}

TEST_CASE("[download] a hub that contradicts itself is not believed") {
  const auto head = [](const std::string& name, const std::string& value) {
    return [=](const Seen& seen, httplib::Response& r) {
      if (seen.method != "HEAD" || !holds(seen.target, "model.safetensors")) return false;
      r.status = 302;
      r.set_header("Location", "http://127.0.0.1:1/elsewhere");
      r.set_header(name, value);
      if (name != "X-Linked-Etag") r.set_header("X-Linked-Etag", test::sha256_hex(test::weights()));
      return true;
    };
  };
  for (const auto& [name, value] :
       {std::pair<std::string, std::string>{"X-Linked-Etag", std::string(64, 'a')},
        {"X-Linked-Size", "5"},
        {"X-Repo-Commit", std::string(40, 'f')}}) {
    CAPTURE(name);
    Scene scene;
    scene.hub.fault(head(name, value));
    const std::string message = scene.failure();
    CHECK_MESSAGE((holds(message, "contradicts itself") || holds(message, "answers with commit")), message);
    scene.check_nothing_wrong();
  }
}

TEST_CASE("[download] names of files that lead out of the snapshot are never written") {
  const std::vector<std::string> names = {"../../../../evil.bin", "ABSOLUTE", "a\\b.bin",
                                          "x/../../evil.bin",     "..",       std::string(5000, 'a')};
  for (const std::string& name : names) {
    CAPTURE(name);
    Scene scene;
    const std::string evil = name == "ABSOLUTE" ? (scene.outer / "evil.bin").string() : name;
    test::FakeModel model;
    model.files = {{"config.json", {test::config}},
                   {"model.safetensors.index.json", {nlohmann::json{{"weight_map", {{"t", evil}}}}.dump()}},
                   {evil, {"evil", true}}};
    scene.hub.add("own/er", model);
    const std::string message = scene.failure();
    CHECK_MESSAGE(holds(message, "no plain relative path"), message);
    scene.check_nothing_wrong();
  }
  // What is not needed does not matter, and "con" is a name like any other.
  Scene scene;
  test::FakeModel model = test::small_model();
  model.files["../x"] = {"evil"};
  model.files["con"] = {"evil"};
  scene.hub.add("own/er", model);
  scene.check_whole(test::pull_from(scene.hub, scene.cache));
  CHECK(test::names_in(scene.outer.path()).size() == 3 + 3 + 1 + 3);  // blobs, links, the ref, locks
}

TEST_CASE("[download] a commit, an ETag and a redirect that are no such thing do not become paths") {
  const auto info = [](const nlohmann::json& sha) {
    return [sha](const Seen& seen, httplib::Response& r) {
      if (!holds(seen.target, "/api/models")) return false;
      r.status = 200;
      r.set_content(nlohmann::json{{"sha", sha}, {"siblings", nlohmann::json::array()}}.dump(),
                    "application/json");
      return true;
    };
  };
  for (const nlohmann::json& sha :
       {nlohmann::json("../../x"), nlohmann::json(""), nlohmann::json(5), nlohmann::json(nullptr)}) {
    Scene scene;
    scene.hub.fault(info(sha));
    CHECK(holds(scene.failure(), "does not answer as a hub does"));
    scene.check_nothing_wrong();
  }
  Scene scene;
  scene.hub.fault([](const Seen& seen, httplib::Response& r) {
    if (seen.method != "HEAD" || !holds(seen.target, "model.safetensors")) return false;
    r.status = 200;
    r.set_header("X-Linked-Etag", "\"../../../evil\"");
    r.set_header("X-Linked-Size", std::to_string(test::weights().size()));
    return true;
  });
  scene.check_whole(test::pull_from(scene.hub, scene.cache));  // by the listed hash
}

TEST_CASE("[download] answers that are no hub's: a web page, broken, huge and deep JSON") {
  const std::string deep = std::string(2000000, '[');
  for (const std::string& answer :
       {std::string("<!DOCTYPE html><title>Log in</title>"), std::string("{\"sha\": "), std::string("null"),
        std::string("[]"), std::string(), deep, "\"" + std::string(3000000, 'a') + "\"",
        std::string("{\"sha\": \"\xff\"}")}) {
    CAPTURE(answer.size());
    Scene scene;
    scene.hub.fault(first(1000, "GET", "/api/models", [&answer](auto& r) {
      r.status = 200;
      r.set_content(answer, "text/html");
    }));
    const std::string message = scene.failure();
    CHECK_MESSAGE(holds(message, "does not answer as a hub does"), message);
    CHECK(message.size() < 600);
    scene.check_nothing_wrong();
  }
}

TEST_CASE("[download] entries of other types in the list of files are left out") {
  Scene scene;
  scene.hub.fault(first(1, "GET", "/api/models", [](auto& r) {
    r.status = 200;
    r.set_content(
        R"({"sha": ")" + test::commit +
            R"(", "gated": [1], "siblings": [1, null, [], {}, {"rfilename": 5}, {"rfilename": "config.json",
                      "size": "x", "lfs": 3, "blobId": -1}, {"rfilename": "model.safetensors", "size": -5, "lfs": {"sha256": []}}]})",
        "application/json");
  }));
  scene.check_whole(test::pull_from(scene.hub, scene.cache));
}

TEST_CASE("[download] a server that falls silent in the middle is left and asked again") {
  Scene scene;
  scene.hub.fault(first(1, "GET", "/store/", [](httplib::Response& r) {
    r.status = 200;
    r.set_content_provider(test::weights().size(), "binary/octet-stream",
                           [](size_t offset, size_t, httplib::DataSink& sink) {
                             if (offset == 0) return sink.write(test::weights().data(), 100000);
                             std::this_thread::sleep_for(std::chrono::seconds(4));
                             return false;
                           });
  }));
  scene.check_whole(test::pull_from(scene.hub, scene.cache));
  CHECK(scene.downloads().size() == 2);
}

TEST_CASE("[download] a disk without room is found before the download, a full one in it; both are named") {
  SUBCASE("before") {
    Scene scene;
    scene.hub.fault(first(1, "GET", "/api/models", [](auto& r) {
      r.status = 200;
      r.set_content(
          R"({"sha": ")" + test::commit +
              R"(", "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]})",
          "application/json");
    }));
    scene.hub.fault(first(1, "HEAD", "model.safetensors", [](auto& r) {
      r.status = 302;
      r.set_header("Location", "http://127.0.0.1:1/");
      r.set_header("X-Linked-Etag", std::string(64, 'a'));
      r.set_header("X-Linked-Size", "4000000000000000000");
    }));
    const std::string message = scene.failure();
    CHECK_MESSAGE(holds(message, "own/er needs 4"), message);
    CHECK(holds(message, "are free"));
    CHECK(holds(message, "HF_HUB_CACHE"));
    CHECK(scene.downloads().empty());
  }
  SUBCASE("in it") {
    Scene scene;
    const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{300000, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = scene.failure();
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, ignored);
    CHECK_MESSAGE(holds(message, "cannot write " + scene.blob.string() + ".incomplete"), message);
    scene.check_nothing_wrong();
    scene.check_whole(test::pull_from(scene.hub, scene.cache));
  }
}

TEST_CASE("[download] links in the place of what is written are not followed") {
  Scene scene;
  write_file(scene.outer / "precious", "x");
  fs::create_directories(scene.model / "blobs");
  fs::create_symlink(scene.outer / "precious", scene.blob.string() + ".incomplete");
  CHECK(holds(scene.failure(), "cannot write"));
  CHECK(read_file(scene.outer / "precious") == "x");
}
