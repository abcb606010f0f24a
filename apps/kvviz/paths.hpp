// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

namespace kvviz {

/// The engine library: beside the executable in the build tree, in ../lib/kvviz when installed.
std::filesystem::path engine_file();

/// The folder with models/ and samples/: ../share/kvviz when installed, else the sources' data/.
std::filesystem::path data_folder();

/// The folder of a model: a folder as it is, "demo" the shipped one, a hub id (name or owner/name) its newest
/// snapshot in the local Hugging Face cache (HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub).
/// Throws DataError saying where it was looked for; nothing is downloaded.
std::filesystem::path model_folder(const std::string& model, const std::filesystem::path& data);

}  // namespace kvviz
