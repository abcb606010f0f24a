// SPDX-License-Identifier: MIT
#include "kvviz/paths.hpp"

#include <algorithm>
#include <cstdlib>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"

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

fs::path hub_cache() {
  if (const char* cache = std::getenv("HF_HUB_CACHE")) return cache;
  if (const char* home = std::getenv("HF_HOME")) return fs::path(home) / "hub";
  const char* home = std::getenv("HOME");
  return fs::path(home == nullptr ? "" : home) / ".cache/huggingface/hub";
}

// models--owner--name/refs/main holds the name of a folder in snapshots/.
fs::path snapshot(const std::string& id) {
  std::string folder = "models--" + id;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path repository = hub_cache() / folder;
  const fs::path reference = repository / "refs/main";
  require(fs::exists(reference), "there is no model folder ", id, ", and the hub id ", id,
          " is not in the local cache ", hub_cache().string(),
          "; download it first, or name a folder with config.json, safetensors and tokenizer");
  std::string revision = read_file(reference);
  revision.erase(revision.find_last_not_of(" \n\r\t") + 1);
  return repository / "snapshots" / revision;
}

}  // namespace

fs::path model_folder(const std::string& model, const fs::path& data) {
  // A folder of results called demo is no model, and must not hide the shipped one.
  if (model == "demo" && !fs::exists(fs::path(model) / "config.json")) return data / "models/demo";
  if (fs::exists(model)) return model;
  const bool id = std::count(model.begin(), model.end(), '/') <= 1 && model.front() != '/' &&
                  model.front() != '.' && model.back() != '/';
  require(id, "there is no model folder ", model,
          "; expected a folder, a hub id (name or owner/name) in the local Hugging Face cache, or demo");
  return snapshot(model);
}

fs::path engine_file() {
  const fs::path here = folder_of_executable();
  return first_existing({here / "libkvviz_engine.so", here / "../lib/kvviz/libkvviz_engine.so"}, "engine");
}

fs::path data_folder() {
  return first_existing({folder_of_executable() / "../share/kvviz", fs::path(KVVIZ_SOURCE_DATA)},
                        "data folder");
}

}  // namespace kvviz
