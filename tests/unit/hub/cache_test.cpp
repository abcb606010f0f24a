// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/cache.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

const std::string old_commit(40, 'a'), new_commit(40, 'b');

void add_file(const fs::path& model, const std::string& commit, const std::string& file,
              const std::string& contents) {
  const std::string blob = "hash-of-" + contents;
  write_file(model / "blobs" / blob, contents);
  const fs::path at = model / "snapshots" / commit / file;
  fs::create_directories(at.parent_path());
  const fs::path up = fs::path(file).has_parent_path() ? "../../../blobs" : "../../blobs";
  fs::create_symlink(up / blob, at);
}

/// What Python's huggingface_hub leaves behind, with all that is to be ignored.
fs::path make_model(const fs::path& cache) {
  const fs::path model = cache / "models--own--er.x";
  add_file(model, old_commit, "config.json", R"({"model_type": "llama"})");
  add_file(model, old_commit, "model.safetensors", "1234567890");
  add_file(model, new_commit, "config.json", R"({"model_type": "llama"})");
  add_file(model, new_commit, "sub/x-Q8_0.gguf", "abc");
  write_file(model / "refs/main", new_commit);
  write_file(model / "refs/refs/pr/1", old_commit + "\n");
  write_file(model / "blobs/zz.incomplete", "12345");
  write_file(model / ".no_exist" / new_commit / "added_tokens.json", "");
  write_file(cache / ".locks/models--own--er.x/zz.lock", "");
  write_file(cache / "version.txt", "1");
  fs::create_directories(cache / "datasets--a--b/snapshots");
  write_file(cache / "models--file", "not a folder");
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(100);
  fs::last_write_time(model / "snapshots" / old_commit, long_ago);
  return model;
}

}  // namespace

TEST_CASE("[hub] a cache of Python's is listed: revisions, refs, each content once") {
  const TemporaryFolder cache;
  make_model(cache.path());
  const auto models = cached_models(cache.path());
  REQUIRE(models.size() == 1);
  const CachedModel& model = models.front();
  CHECK(model.id == "own/er.x");
  CHECK(model.incomplete == 5);
  CHECK(model.bytes == 23 + 10 + 3 + 5 + 40 + 41);  // config once, weights, gguf, incomplete, two refs
  REQUIRE(model.revisions.size() == 2);
  CHECK(model.revisions[0].commit == new_commit);
  CHECK(model.revisions[0].refs == std::vector<std::string>{"main"});
  CHECK(model.revisions[0].files == 2);
  CHECK(model.revisions[0].bytes == 26);
  CHECK(model.revisions[0].model_type == "llama");
  CHECK(model.revisions[1].refs == std::vector<std::string>{"refs/pr/1"});
  CHECK(model.revisions[1].bytes == 33);
  CHECK(model.revisions[1].missing == 0);
  fs::remove(model.folder / "blobs/hash-of-1234567890");
  CHECK(cached_models(cache.path()).front().revisions[1].missing == 1);
  CHECK(cached_models(cache / "nowhere").empty());
}

TEST_CASE("[hub] a revision is found by branch, pull request and commit") {
  const TemporaryFolder cache;
  const fs::path model = make_model(cache.path());
  CHECK(snapshot_folder(cache.path(), {"own/er.x", "main"}) == model / "snapshots" / new_commit);
  CHECK(snapshot_folder(cache.path(), {"own/er.x", "refs/pr/1"}) == model / "snapshots" / old_commit);
  CHECK(snapshot_folder(cache.path(), {"own/er.x", old_commit}) == model / "snapshots" / old_commit);
  const auto missing = message_of<DataError>([&] { snapshot_folder(cache.path(), {"own/er.x", "v9"}); });
  CHECK(holds(missing, "revision v9 of own/er.x is not in the local Hugging Face cache"));
  CHECK(holds(missing, "main (" + new_commit + ")"));
  CHECK(holds(missing, "kvviz models pull own/er.x@v9"));
  CHECK(holds(message_of<DataError>([&] {
                snapshot_folder(cache.path(), {"x/y", "main"});
              }),
              "kvviz models pull x/y"));
}

TEST_CASE("[hub] a ref that is no commit does not become a path") {
  const TemporaryFolder cache;
  const fs::path model = make_model(cache.path());
  for (const std::string bad : {"../../../..", "..", ".", "", "/", "a/b"}) {
    CAPTURE(bad);
    write_file(model / "refs/main", bad);
    CHECK(holds(message_of<DataError>([&] {
                  snapshot_folder(cache.path(), {"own/er.x", "main"});
                }),
                "is not in the local"));
  }
}

TEST_CASE("[hub] the path of a model is its snapshot, or the GGUF file that is asked for or alone there") {
  const TemporaryFolder cache;
  const fs::path model = make_model(cache.path()), folder = model / "snapshots" / new_commit;
  CHECK(cached_model_path(cache.path(), {"own/er.x", "main"}) == folder / "sub/x-Q8_0.gguf");
  CHECK(cached_model_path(cache.path(), {"own/er.x", old_commit}) == model / "snapshots" / old_commit);
  add_file(model, new_commit, "x-Q4_0.gguf", "de");
  const auto several = message_of<UsageError>([&] { cached_model_path(cache.path(), {"own/er.x", "main"}); });
  CHECK(holds(several, "own/er.x:FILE"));
  CHECK(holds(several, "x-Q4_0.gguf"));
  CHECK(cached_model_path(cache.path(), {"own/er.x", "main", "q4_0"}) == folder / "x-Q4_0.gguf");
  add_file(model, new_commit, "model.safetensors", "w");
  CHECK(cached_model_path(cache.path(), {"own/er.x", "main"}) == folder);
  CHECK(cached_model_path(cache.path(), {"own/er.x", "main", "q8_0"}) == folder / "sub/x-Q8_0.gguf");
}

TEST_CASE("[hub] the path of a GGUF model in parts is its first file") {
  const TemporaryFolder cache;
  const fs::path model = make_model(cache.path()), folder = model / "snapshots" / new_commit;
  for (const char* part : {"1", "2"})
    add_file(model, new_commit, cat("Q4_0/x-Q4_0-0000", part, "-of-00002.gguf"), part);
  CHECK(cached_model_path(cache.path(), {"own/er.x", "main", "q4_0"}) ==
        folder / "Q4_0/x-Q4_0-00001-of-00002.gguf");
  const auto missing = [&] { return cached_models(cache.path()).front().revisions.front().missing; };
  const int64_t before = missing();
  fs::remove(folder / "Q4_0/x-Q4_0-00002-of-00002.gguf");
  CHECK(missing() == before + 1);
}

TEST_CASE("[hub] rm removes a model and its locks, follows no link, and nothing else") {
  const TemporaryFolder cache, outside;
  const fs::path model = make_model(cache.path());
  write_file(outside / "precious", "x");
  fs::create_directory_symlink(outside.path(), model / "snapshots/link");
  fs::create_symlink(outside / "precious", model / "blobs/link");
  const RemovedModel removed = remove_model(cache.path(), "own/er.x");
  CHECK(removed.bytes == 23 + 10 + 3 + 5 + 40 + 41);
  CHECK_FALSE(fs::exists(model));
  CHECK_FALSE(fs::exists(cache / ".locks/models--own--er.x"));
  CHECK(read_file(outside / "precious") == "x");
  CHECK(fs::exists(cache / "datasets--a--b"));
  CHECK(fs::exists(cache / "version.txt"));
  CHECK(holds(message_of<DataError>([&] { remove_model(cache.path(), "own/er.x"); }), "is not in the local"));
}

TEST_CASE("[hub] rm leaves a model alone whose folder is a link or a file, or that is being downloaded") {
  const TemporaryFolder cache, outside;
  const fs::path model = make_model(cache.path());
  const int lock = open((cache / ".locks/models--own--er.x/zz.lock").c_str(), O_RDWR);
  REQUIRE(flock(lock, LOCK_EX) == 0);
  CHECK(holds(message_of<DataError>([&] { remove_model(cache.path(), "own/er.x"); }), "is being downloaded"));
  close(lock);
  CHECK(fs::exists(model / "refs/main"));
  write_file(outside / "config.json", "{}");
  fs::create_directory_symlink(outside.path(), cache / "models--a--link");
  CHECK(holds(message_of<DataError>([&] { remove_model(cache.path(), "a/link"); }), "nothing was removed"));
  CHECK(holds(message_of<DataError>([&] { remove_model(cache.path(), "file"); }), "nothing was removed"));
  CHECK(fs::exists(outside / "config.json"));
  CHECK(fs::exists(cache / "models--file"));
}
