// SPDX-License-Identifier: MIT
#include "kvviz/formats/weight_files.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

struct KnownName {
  const char* name;
  WeightFormat format;
  bool sharded;
};
constexpr std::array known_names{
    KnownName{"model.safetensors", WeightFormat::safetensors, false},
    KnownName{"model.safetensors.index.json", WeightFormat::safetensors, true},
    KnownName{"pytorch_model.bin", WeightFormat::torch, false},
    KnownName{"pytorch_model.bin.index.json", WeightFormat::torch, true},
};

std::vector<fs::path> gguf_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".gguf") files.push_back(entry.path());
  require(!error, "cannot read ", folder.string(), ": ", error.message());
  std::sort(files.begin(), files.end());
  return files;
}

std::string names(const std::vector<fs::path>& files) {
  std::string list;
  for (const fs::path& file : files) list += (list.empty() ? "" : ", ") + file.filename().string();
  return list;
}

}  // namespace

std::optional<WeightFiles> find_weights(const fs::path& model) {
  if (fs::is_regular_file(model)) {
    const auto extension = model.extension();
    require(extension != ".safetensors" && extension != ".bin" && extension != ".json", model.string(),
            " is a file of a model; name its folder: --model ",
            model.has_parent_path() ? model.parent_path().string() : ".");
    return WeightFiles{WeightFormat::gguf, model, false};
  }
  if (!fs::is_directory(model)) return std::nullopt;
  for (const KnownName& known : known_names)
    if (fs::exists(model / known.name)) return WeightFiles{known.format, model / known.name, known.sharded};
  const std::vector<fs::path> files = gguf_files(model);
  if (files.empty()) return std::nullopt;
  require(files.size() == 1, model.string(), " holds several GGUF files: ", names(files),
          "; name the one to read, e.g. --model ", files.front().string());
  return WeightFiles{WeightFormat::gguf, files.front(), false};
}

std::optional<fs::path> gguf_of(const fs::path& model) {
  const auto weights = find_weights(model);
  if (!weights || weights->format != WeightFormat::gguf) return std::nullopt;
  return weights->file;
}

}  // namespace kvviz
