// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

namespace kvviz::hub {

/// The GGUF models among the files of a repository: no projectors of vision models (mmproj), and of a model
/// that is split in several files only the first.
std::vector<std::string> gguf_files(const std::vector<std::string>& files);

/// The one of gguf_files(files) that `wanted` names: a file with or without its folder, any of the parts of a
/// model, or a quantisation ("Q4_K_M", any case) that stands as a word in one file's name alone; "" for the
/// only one. Throws UsageError that lists the choices when there are several or none.
std::string choose_gguf(const std::vector<std::string>& files, const std::string& wanted);

/// The files of a model that choose_gguf() gives: that one, or all its parts. Throws DataError naming a part
/// that is not among `files`.
std::vector<std::string> gguf_parts(const std::vector<std::string>& files, const std::string& model);

}  // namespace kvviz::hub
