// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

namespace kvviz {

/// The engine library: beside the executable in the build tree, in ../lib/kvviz when installed.
std::filesystem::path engine_file();

/// The library that talks to the hub, in the same place.
std::filesystem::path network_file();

/// The folder with models/ and samples/: ../share/kvviz, in the build tree a link to the
/// sources' data/.
std::filesystem::path data_folder();

/// The folder of a model, or its GGUF file: a path as it is, "demo" the shipped one, a hub id (name or
/// owner/name, also with @revision and :GGUF) what the local Hugging Face cache has of it
/// (hub::cached_model_path()). Throws DataError saying where it was looked for; nothing is downloaded.
std::filesystem::path model_folder(const std::string& model, const std::filesystem::path& data);

}  // namespace kvviz
