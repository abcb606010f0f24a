// SPDX-License-Identifier: MIT
#include "kvviz/paths.hpp"

#include "kvviz/core/error.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

fs::path folder_of_executable() {
  return fs::read_symlink("/proc/self/exe").parent_path();
}

fs::path first_existing(const std::initializer_list<fs::path> places, const char* what) {
  for (const fs::path& place : places)
    if (fs::exists(place)) return fs::weakly_canonical(place);
  std::string looked;
  for (const fs::path& place : places) looked += (looked.empty() ? "" : ", ") + place.string();
  throw DataError(cat("kvviz is not installed completely: no ", what, "; looked for ", looked));
}

fs::path library(const char* file, const char* what) {
  const fs::path here = folder_of_executable();
  return first_existing({here / file, here / "../lib/kvviz" / file}, what);
}

}  // namespace

fs::path model_folder(const std::string& model, const fs::path& data) {
  // A folder of results called demo is no model, and must not hide the shipped one.
  if (model == "demo" && !fs::exists(fs::path(model) / "config.json")) return data / "models/demo";
  if (fs::exists(model)) return model;
  hub::refuse_address(model);
  require(
      hub::is_model_name(model), "there is no model folder ", model,
      "; expected a folder, a GGUF file, a hub id (name or owner/name) in the local Hugging Face cache, or "
      "demo");
  try {
    return hub::cached_model_path(hub::cache_folder(hub::process_environment()),
                                  hub::parse_model_name(model));
  } catch (const DataError& error) {
    std::vector<std::string> names{"demo"};
    for (const hub::CachedModel& cached : hub::cached_models(hub::cache_folder(hub::process_environment())))
      names.push_back(cached.id);
    const std::string meant = likely_meant(model, names);
    throw DataError(cat("there is no model folder ", model, ", and as a hub id: ", error.what(),
                        meant.empty() || meant == model ? "" : cat("; did you mean ", meant, "?")));
  }
}

fs::path engine_file() {
  return library("libkvviz_engine.so", "engine");
}

fs::path network_file() {
  return library("libkvviz_network.so", "library that talks to the hub");
}

fs::path data_folder() {
  return first_existing({folder_of_executable() / "../share/kvviz"}, "data folder");
}

}  // namespace kvviz
