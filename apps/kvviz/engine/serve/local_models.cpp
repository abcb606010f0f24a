// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/local_models.hpp"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "kvviz/core/error.hpp"
#include "kvviz/core/part_name.hpp"
#include "kvviz/formats/weight_files.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/hub/gguf_choice.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

constexpr const char* shipped_id = "demo";

LocalModel shipped(const ServeOptions& options) {
  return {shipped_id, "shipped", options.call.data / "models/demo"};
}

/// nullopt: it cannot be told where it is, for lack of a home folder.
std::optional<fs::path> cache() {
  try {
    return hub::cache_folder(hub::process_environment());
  } catch (const DataError&) {
    return std::nullopt;
  }
}

bool is_cached(const std::string& id) {
  std::error_code ignored;
  const auto folder = cache();
  return folder && hub::is_model_name(id) &&
         fs::exists(*folder / hub::folder_of_id(hub::parse_model_name(id).id), ignored);
}

/// The last part of a path, which may hold anything, as an id.
std::string id_of(const fs::path& place) {
  const fs::path whole = fs::absolute(place).lexically_normal();
  std::string id = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  std::ranges::replace_if(
      id,
      [](char c) {
        return !(std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-');
      },
      '_');
  return id == shipped_id || is_cached(id) ? id + " (given)" : id;
}

/// The model of the command line where that is a path.
std::optional<LocalModel> given(const ServeOptions& options) {
  const std::string& model = options.model.model;
  std::error_code ignored;
  const bool demo = model == shipped_id && !fs::exists(fs::path(model) / "config.json", ignored);
  if (model == "none" || demo || !fs::exists(model, ignored)) return std::nullopt;
  return LocalModel{id_of(model), "given", fs::absolute(model)};
}

std::optional<LocalModel> cached(const std::string& id) {
  if (!is_cached(id)) return std::nullopt;
  try {
    return LocalModel{id, "cache", hub::cached_model_path(*cache(), hub::parse_model_name(id))};
  } catch (const DataError&) {
    return std::nullopt;
  }
}

/// The names of what a revision holds: one, or one for each GGUF file of several.
std::vector<LocalModel> models_of(const hub::CachedModel& model, const hub::CachedRevision& revision) {
  const std::string main = hub::ModelName{}.revision;
  const bool newest = std::ranges::find(revision.refs, main) != revision.refs.end();
  const std::string id = newest ? model.id : model.id + '@' + revision.commit;
  try {
    std::vector<LocalModel> one;
    if (auto found = cached(id)) one.push_back(*found);
    return one;
  } catch (const UsageError&) {
    std::vector<std::string> names;
    std::error_code error;
    const fs::path folder = model.folder / "snapshots" / revision.commit;
    fs::recursive_directory_iterator at(folder, error);
    for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error))
      names.push_back(at->path().lexically_relative(folder).generic_string());
    std::vector<LocalModel> several;
    for (const std::string& file : hub::gguf_files(names))
      if (auto found = cached(id + ':' + file)) several.push_back(*found);
    std::ranges::sort(several, {}, &LocalModel::id);
    return several;
  }
}

bool are_there(const std::vector<std::string>& files) {
  return std::ranges::all_of(files, [](const std::string& file) { return fs::exists(file); });
}

bool all_files_there(const fs::path& folder) {
  std::error_code error, dangling;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (!fs::exists(at->path(), dangling)) return false;
  return !error;
}

/// Whether its configuration is one that kvviz reads; then its architecture is put down.
bool is_known(LocalModel& model) {
  try {
    model.architecture = load_config(model.place).architecture;
    return true;
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace

std::string shown(const std::string& id) {
  constexpr size_t longest = 100;
  std::string text = id.substr(0, longest);
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

LocalModel first_model(const ServeOptions& options) {
  const std::string& model = options.model.model;
  if (auto path = given(options)) return *path;
  if (model == shipped_id) return shipped(options);
  const fs::path place = model_folder(model, options.call.data);
  return LocalModel{model, "cache", place};
}

std::optional<LocalModel> find_local(const ServeOptions& options, const std::string& id) {
  if (id == shipped_id) return shipped(options);
  if (auto path = given(options); path && path->id == id) return path;
  return cached(id);
}

LocalModel require_local(const ServeOptions& options, const std::string& id) {
  if (auto model = find_local(options, id)) return *model;
  throw serve::not_found("there is no model ", shown(id),
                         " on this machine; GET /api/models lists those that are");
}

bool is_whole(const LocalModel& model) {
  std::error_code ignored;
  const bool snapshot = model.source == "cache" && fs::is_directory(model.place, ignored);
  try {
    const auto weights = find_weights(model.place);
    return weights && are_there(all_parts(weights->file.string())) &&
           (!snapshot || all_files_there(model.place));
  } catch (const std::exception&) {  // several GGUF files, or a folder that may not be read
    return false;
  }
}

std::vector<LocalModel> local_models(const ServeOptions& options) {
  std::vector<LocalModel> models{shipped(options)};
  if (auto path = given(options)) models.push_back(*path);
  const auto folder = cache();
  for (const hub::CachedModel& model : folder ? hub::cached_models(*folder) : std::vector<hub::CachedModel>{})
    for (const hub::CachedRevision& revision : model.revisions)
      std::ranges::move(models_of(model, revision), std::back_inserter(models));
  std::erase_if(models, [](LocalModel& model) { return !is_whole(model) || !is_known(model); });
  return models;
}

int64_t bytes_of(const LocalModel& model) {
  std::error_code error;
  int64_t bytes = 0;
  if (fs::is_regular_file(model.place)) {
    for (const std::string& file : all_parts(model.place.string())) {
      const auto size = fs::file_size(file, error);
      bytes += error ? 0 : static_cast<int64_t>(size);
    }
    return bytes;
  }
  // A folder of the user may stand above anything.
  const int deepest = model.source == "cache" ? 8 : 0;
  for (fs::recursive_directory_iterator at(model.place, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code none;
    const auto size = at->is_regular_file(none) ? at->file_size(none) : 0;
    bytes += none ? 0 : static_cast<int64_t>(size);
    if (at.depth() >= deepest) at.disable_recursion_pending();
  }
  return bytes;
}

}  // namespace kvviz
