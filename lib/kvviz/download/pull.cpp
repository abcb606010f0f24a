// SPDX-License-Identifier: MIT
#include "kvviz/download/pull.hpp"

#include <algorithm>
#include <mutex>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/download/api.hpp"
#include "kvviz/download/blob.hpp"
#include "kvviz/download/choose_files.hpp"
#include "kvviz/download/parallel.hpp"

namespace kvviz::hub {
namespace {

namespace fs = std::filesystem;

int64_t size_or_zero(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// Bytes of the blob that have to come.
int64_t missing_bytes(const Blob& blob) {
  if (size_or_zero(blob.path) == blob.size) return 0;
  const int64_t begun = size_or_zero(blob.incomplete());
  return begun <= blob.size ? blob.size - begun : blob.size;
}

RemoteFile listed_file(const ModelInfo& info, const std::string& name) {
  const auto at = std::ranges::find(info.files, name, &RemoteFile::name);
  return at == info.files.end() ? RemoteFile{.name = name} : *at;
}

std::vector<std::string> names_of(const ModelInfo& info) {
  std::vector<std::string> names;
  for (const RemoteFile& file : info.files) names.push_back(file.name);
  return names;
}

class Pull {
 public:
  Pull(const HttpSettings& settings, const PullOptions& options, const PullProgress& progress,
       std::stop_token stop)
      : settings_(settings),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)),
        client_(settings, stop_) {}

  PullResult run() {
    info_ = model_info(client_, options_.name);
    const auto names = names_of(info_);
    const FileChoice choice = choose_files(
        names,
        {.weights = options_.weights, .gguf = !options_.name.gguf.empty(), .wanted = options_.name.gguf});
    auto files = choice.files;
    for (const std::string& shard : shards(choice, names)) files.push_back(shard);
    const auto blobs = locate(files);
    PullResult result = planned(blobs);
    result.weights = choice.weights;
    if (options_.dry_run) return result;
    result.received = received_;
    require_space(result.missing);
    result.received += fetch(contents_of(blobs), result.bytes);
    for (const Blob& blob : blobs) link(blob, result.folder);
    write_ref();
    return result;
  }

 private:
  // Needs the index itself, which therefore comes first, also in a dry run.
  std::vector<std::string> shards(const FileChoice& choice, const std::vector<std::string>& names) {
    if (choice.index.empty()) return {};
    const Blob index =
        locate_blob(client_, options_.name, info_, listed_file(info_, choice.index), options_.cache);
    received_ += fetch_blob(client_, options_.name, index, [](int64_t) {});
    return shards_of(choice.index, read_file(index.path), names);
  }

  std::vector<Blob> locate(const std::vector<std::string>& files) {
    std::vector<Blob> blobs(files.size());
    for_each_request(files.size(), options_.connections, settings_, stop_, [&](HttpClient& client, size_t i) {
      blobs[i] = locate_blob(client, options_.name, info_, listed_file(info_, files[i]), options_.cache);
      if (options_.verify) keep_if_correct(blobs[i]);
    });
    return blobs;
  }

  static std::vector<Blob> contents_of(const std::vector<Blob>& blobs) {
    std::vector<Blob> contents;
    std::set<std::string> seen;
    for (const Blob& blob : blobs)
      if (seen.insert(blob.hash).second) contents.push_back(blob);
    return contents;
  }

  PullResult planned(const std::vector<Blob>& blobs) const {
    PullResult result{.commit = info_.commit,
                      .folder = options_.cache / folder_of_id(options_.name.id) / "snapshots" / info_.commit};
    for (const Blob& blob : blobs)
      result.files.push_back({blob.file, blob.hash, blob.size, missing_bytes(blob)});
    for (const Blob& blob : contents_of(blobs)) {
      result.bytes += blob.size;
      result.missing += missing_bytes(blob);
    }
    return result;
  }

  void require_space(int64_t bytes) const {
    fs::path there = fs::absolute(options_.cache).lexically_normal();
    while (!fs::exists(there) && there.has_relative_path()) there = there.parent_path();
    std::error_code error;
    const auto space = fs::space(there, error);
    if (error) return;  // then the file system will say so itself
    const auto free = static_cast<double>(space.available);
    require(static_cast<double>(bytes) <= free, options_.name.id, " needs ",
            size_text(static_cast<double>(bytes)), " more in ", options_.cache.string(), ", where ",
            size_text(free),
            " are free; make room (kvviz models rm), or set HF_HUB_CACHE to a folder of another disk");
    require_writable(options_.cache);
  }

  int64_t fetch(const std::vector<Blob>& blobs, int64_t total) {
    std::mutex mutex;
    int64_t done = 0, received = 0;
    const auto add = [&](int64_t bytes) {
      const std::lock_guard lock(mutex);
      done += bytes;
      progress_(done, total);
    };
    for_each_request(blobs.size(), options_.connections, settings_, stop_, [&](HttpClient& client, size_t i) {
      const int64_t bytes = fetch_blob(client, options_.name, blobs[i], add);
      const std::lock_guard lock(mutex);
      received += bytes;
    });
    return received;
  }

  // snapshots/<commit>/<file> -> ../../blobs/<hash>, made aside and renamed.
  static void link(const Blob& blob, const fs::path& folder) {
    const fs::path at = folder / blob.file;
    fs::path target = "../..";
    for (const char c : blob.file)
      if (c == '/') target /= "..";
    target = target / "blobs" / blob.hash;
    std::error_code error;
    if (fs::is_symlink(at, error) && fs::read_symlink(at, error) == target) return;
    AtomicFile made(at);
    fs::create_symlink(target, made.temporary());
    made.commit();
  }

  void write_ref() const {
    const std::string& revision = options_.name.revision;
    if (revision == info_.commit) return;
    write_file(options_.cache / folder_of_id(options_.name.id) / "refs" / revision, info_.commit);
  }

  const HttpSettings& settings_;
  const PullOptions& options_;
  const PullProgress& progress_;
  std::stop_token stop_;
  HttpClient client_;
  ModelInfo info_;
  int64_t received_ = 0;
};

}  // namespace

PullResult pull(const HttpSettings& settings, const PullOptions& options, const PullProgress& progress,
                std::stop_token stop) {
  return Pull(settings, options, progress, std::move(stop)).run();
}

}  // namespace kvviz::hub
