// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace kvviz::hub {

/// The value of an environment variable; nullopt where it is unset or empty.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// The variables of this process.
Environment process_environment();

/// The folder of downloaded models, found as Python's huggingface_hub finds it: HF_HUB_CACHE, else
/// HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
/// ~/.cache/huggingface/hub. A leading ~ and $NAME or ${NAME} are replaced. The folder need not exist.
/// Throws DataError when the home folder is needed and not known.
std::filesystem::path cache_folder(const Environment& environment);

/// The file with the access token: HF_TOKEN_PATH, else `token` in HF_HOME (found as above).
std::filesystem::path token_file(const Environment& environment);

/// HF_ENDPOINT without slashes at its end, else https://huggingface.co.
std::string endpoint(const Environment& environment);

/// The variable that forbids connections (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is 1, on, yes or true); ""
/// where none does.
std::string offline_by(const Environment& environment);

}  // namespace kvviz::hub
