// SPDX-License-Identifier: MIT
#include "kvviz/hub/cache.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/file_lock.hpp"
#include "kvviz/core/part_name.hpp"
#include "kvviz/hub/gguf_choice.hpp"

namespace kvviz::hub {
namespace {

namespace fs = std::filesystem;

// Entries of a folder by name; none when it cannot be read.
std::vector<fs::directory_entry> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::directory_entry> all;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    all.push_back(*at);
  std::ranges::sort(all, {}, [](const fs::directory_entry& entry) { return entry.path(); });
  return all;
}

// Names of files below a folder, relative to it; links to files included, links to folders not followed.
std::vector<std::string> files_below(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->is_symlink(ignored) || at->is_regular_file(ignored))
      names.push_back(at->path().lexically_relative(folder).generic_string());
  }
  std::ranges::sort(names);
  return names;
}

std::string read_text(const fs::path& file) {
  try {
    std::string text = read_file(file);
    text.erase(text.find_last_not_of(" \n\r\t") + 1);
    return text;
  } catch (const DataError&) {
    return {};
  }
}

// A ref holds a commit; anything else must not become a path.
bool is_snapshot_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

std::multimap<std::string, std::string> refs_by_commit(const fs::path& model) {
  std::multimap<std::string, std::string> refs;
  for (const std::string& name : files_below(model / "refs"))
    refs.emplace(read_text(model / "refs" / name), name);
  return refs;
}

std::string model_type(const fs::path& snapshot, const std::vector<std::string>& files) {
  try {
    const auto config = nlohmann::json::parse(read_text(snapshot / "config.json"), nullptr, false);
    if (config.is_object() && config.contains("model_type")) return config["model_type"].get<std::string>();
  } catch (const std::exception&) {  // then the model type is not known
  }
  return gguf_files(files).empty() ? "" : "GGUF";
}

// Parts of GGUF models that have no link here; `files` are sorted.
int64_t absent_parts(const std::vector<std::string>& files) {
  std::set<std::string> models;
  for (const std::string& file : files) models.insert(first_part(file));
  int64_t absent = 0;
  for (const std::string& model : models)
    absent += std::ranges::count_if(
        all_parts(model), [&](const std::string& part) { return !std::ranges::binary_search(files, part); });
  return absent;
}

bool has_weights(const std::vector<std::string>& files) {
  return std::ranges::any_of(files, [](const std::string& file) {
    return file.ends_with(".safetensors") || (file.starts_with("pytorch_model") && file.ends_with(".bin"));
  });
}

CachedRevision read_revision(const fs::path& snapshot) {
  CachedRevision revision{.commit = snapshot.filename().string()};
  const auto files = files_below(snapshot);
  revision.missing = absent_parts(files);
  for (const std::string& name : files) {
    std::error_code missing;
    const auto size = fs::file_size(snapshot / name, missing);
    revision.missing += missing ? 1 : 0;
    if (missing) continue;
    ++revision.files;
    revision.bytes += static_cast<int64_t>(size);
  }
  std::error_code ignored;
  revision.updated = fs::last_write_time(snapshot, ignored);
  revision.weights = has_weights(files) || !gguf_files(files).empty();
  revision.model_type = model_type(snapshot, files);
  return revision;
}

int64_t bytes_below(const fs::path& folder, std::string_view suffix = "") {
  int64_t bytes = 0;
  for (const std::string& name : files_below(folder)) {
    std::error_code error;
    const fs::path file = folder / name;
    if (!name.ends_with(suffix) || fs::is_symlink(file, error)) continue;
    const auto size = fs::file_size(file, error);
    bytes += error ? 0 : static_cast<int64_t>(size);
  }
  return bytes;
}

CachedModel read_model(const fs::path& folder, const std::string& id) {
  CachedModel model{.id = id, .folder = folder, .bytes = bytes_below(folder)};
  model.incomplete = bytes_below(folder / "blobs", ".incomplete");
  const auto refs = refs_by_commit(folder);
  for (const auto& entry : entries(folder / "snapshots")) {
    std::error_code error;
    if (!entry.is_directory(error) || !is_snapshot_name(entry.path().filename().string())) continue;
    model.revisions.push_back(read_revision(entry.path()));
    const auto [first, last] = refs.equal_range(model.revisions.back().commit);
    for (auto ref = first; ref != last; ++ref) model.revisions.back().refs.push_back(ref->second);
  }
  std::ranges::stable_sort(model.revisions, std::greater<>{}, &CachedRevision::updated);
  return model;
}

std::string revisions_text(const CachedModel& model) {
  std::string text;
  for (const CachedRevision& revision : model.revisions) {
    text += text.empty() ? "" : ", ";
    for (const std::string& ref : revision.refs) text += ref + ' ';
    text += '(' + revision.commit + ')';
  }
  return text;
}

std::string pull_command(const ModelName& name) {
  const std::string revision = name.revision == ModelName{}.revision ? "" : '@' + name.revision;
  return cat("kvviz models pull ", name.id, revision, name.gguf.empty() ? "" : " --gguf " + name.gguf);
}

}  // namespace

std::vector<CachedModel> cached_models(const fs::path& cache) {
  std::vector<CachedModel> models;
  for (const auto& entry : entries(cache)) {
    std::error_code error;
    const std::string id = id_of_folder(entry.path().filename().string());
    if (!id.empty() && entry.is_directory(error)) models.push_back(read_model(entry.path(), id));
  }
  return models;
}

fs::path snapshot_folder(const fs::path& cache, const ModelName& name) {
  const fs::path folder = cache / folder_of_id(name.id);
  std::error_code error;
  require(fs::is_directory(folder, error), name.id, " is not in the local Hugging Face cache ",
          cache.string(), "; download it: ", pull_command(name));
  const bool commit = is_commit(name.revision);
  const std::string snapshot = commit ? name.revision : read_text(folder / "refs" / name.revision);
  const fs::path found = folder / "snapshots" / snapshot;
  if (is_snapshot_name(snapshot) && fs::is_directory(found, error)) return found;
  const std::string there = revisions_text(read_model(folder, name.id));
  throw DataError(cat("revision ", name.revision, " of ", name.id, " is not in the local Hugging Face cache ",
                      cache.string(), there.empty() ? ", nor is another" : "; there is " + there,
                      "; download it: ", pull_command(name)));
}

fs::path cached_model_path(const fs::path& cache, const ModelName& name) {
  const fs::path folder = snapshot_folder(cache, name);
  const auto files = files_below(folder);
  const bool gguf = !name.gguf.empty() || (!has_weights(files) && !gguf_files(files).empty());
  if (!gguf) return folder;
  try {
    return folder / choose_gguf(files, name.gguf);
  } catch (const UsageError& error) {
    throw UsageError(
        cat(name.id, " in the local Hugging Face cache: ", error.what(), "; a model is named as ", name.id,
            ":FILE; others are downloaded by ",
            pull_command(ModelName{name.id, name.revision, name.gguf.empty() ? "FILE" : name.gguf})));
  }
}

RemovedModel remove_model(const fs::path& cache, const std::string& id) {
  const fs::path folder = cache / folder_of_id(id), locks = cache / ".locks" / folder_of_id(id);
  std::error_code error;
  const auto kind = fs::symlink_status(folder, error).type();
  require(kind != fs::file_type::not_found, id, " is not in the local Hugging Face cache ", cache.string(),
          "; kvviz models list shows what is");
  require(kind == fs::file_type::directory, folder.string(),
          " is no folder of its own (a link?); nothing was removed: remove it by hand");
  require(!any_locked(locks), id, " is being downloaded; nothing was removed: try again when that has ended");
  const RemovedModel removed{folder, bytes_below(folder)};
  // In this order a removal that is broken off leaves no revision with missing files.
  for (const fs::path& part : {folder / "refs", folder / "snapshots", folder}) {
    fs::remove_all(part, error);
    require(!error, "cannot remove ", part.string(), ": ", error.message());
  }
  fs::remove_all(locks, error);
  return removed;
}

}  // namespace kvviz::hub
