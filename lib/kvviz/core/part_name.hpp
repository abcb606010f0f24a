// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace kvviz {

/// The names of GGUF models in several files, as llama-gguf-split and the package gguf write them:
/// NAME-00001-of-00003.gguf to NAME-00003-of-00003.gguf. Folders in front stay as they are.
struct PartNumber {
  int part = 0, parts = 0;  ///< part is 1 to parts
};

/// nullopt: the file is not named as a part.
std::optional<PartNumber> part_number(const std::string& file);

/// The names of all parts of the model that `file` is one of, the first in front; `file` alone where it is
/// not named as a part.
std::vector<std::string> all_parts(const std::string& file);

/// The front of all_parts().
std::string first_part(const std::string& file);

}  // namespace kvviz
