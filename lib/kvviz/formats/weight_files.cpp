// SPDX-License-Identifier: MIT
#include "kvviz/formats/weight_files.hpp"

#include <array>
#include <set>
#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/core/part_name.hpp"

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

// Each by its first part, whether that is there or not.
std::set<fs::path> gguf_models(const fs::path& folder) {
  std::set<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".gguf") files.insert(first_part(entry.path().string()));
  require(!error, "cannot read ", folder.string(), ": ", error.message());
  return files;
}

std::string names(const std::set<fs::path>& files) {
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
  const std::set<fs::path> models = gguf_models(model);
  if (models.empty()) return std::nullopt;
  const fs::path& first = *models.begin();
  require(models.size() == 1, model.string(), " holds several GGUF files: ", names(models),
          "; name the one to read, e.g. --model ", first.string());
  require(fs::exists(first), first.string(), " is missing; ", model.string(),
          " holds other parts of the model");
  return WeightFiles{WeightFormat::gguf, first, false};
}

std::optional<fs::path> gguf_of(const fs::path& model) {
  const auto weights = find_weights(model);
  if (!weights || weights->format != WeightFormat::gguf) return std::nullopt;
  return weights->file;
}

}  // namespace kvviz
