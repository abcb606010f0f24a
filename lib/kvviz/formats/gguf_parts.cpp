// SPDX-License-Identifier: MIT
#include "kvviz/core/error.hpp"
#include "kvviz/core/part_name.hpp"
#include "kvviz/formats/gguf.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

void check_number(const GgufFile& part, const std::string& key, int64_t expected) {
  const int64_t got = part.integer(key);
  require(got == expected, part.name(), ": ", key, " is ", got, "; expected ", expected,
          ": a part of another model, or a file that was renamed");
}

void check_name(const fs::path& file, int64_t parts) {
  const auto number = part_number(file.string());
  require(
      number && number->parts == parts, file.string(), ": one of ", parts,
      " files of a model (split.count), but not named as one, as in NAME-00001-of-00003.gguf for the first "
      "of three; give the files the names they had");
  require(number->part == 1, file.string(), " is part ", number->part, " of ", parts,
          " of a model; name the first: --model ", first_part(file.string()));
}

}  // namespace

void GgufFile::add_part(GgufFile part) {
  for (auto& [name, tensor] : part.tensors_)
    require(tensors_.emplace(name, std::move(tensor)).second, part.name_, ": ", name,
            " is also in another part of the model");
  files_.push_back(part.name_);
}

GgufFile GgufFile::open_model(const fs::path& first) {
  GgufFile model = open(first);
  const int64_t parts = model.integer("split.count", 1);
  if (parts <= 1) return model;
  check_name(first, parts);
  check_number(model, "split.no", 0);
  const int64_t tensors = model.integer("split.tensors.count");
  for (const std::string& file : all_parts(first.string())) {
    if (file == first) continue;
    require(fs::exists(file), file, " is missing; ", first.string(), " is one of ", parts,
            " files of a model");
    GgufFile part = open(file);
    check_number(part, "split.no", std::ssize(model.files_));
    check_number(part, "split.count", parts);
    check_number(part, "split.tensors.count", tensors);
    model.add_part(std::move(part));
  }
  require(std::ssize(model.tensors_) == tensors, first.string(), ": the ", parts, " files of the model hold ",
          model.tensors_.size(), " tensors; split.tensors.count says ", tensors);
  return model;
}

}  // namespace kvviz
