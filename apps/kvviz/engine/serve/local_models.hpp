// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/options.hpp"

namespace kvviz {

/// A model of this machine, by the name that requests give it: "demo", the folder of the command line by its
/// own name alone, or a name of the hub, looked up in the Hugging Face cache and nowhere else. No request
/// names a path.
struct LocalModel {
  std::string id;
  std::string source;           ///< shipped, given, cache
  std::filesystem::path place;  ///< its folder, or GGUF file, of several parts the first
  std::string architecture{};   ///< of what local_models() lists
};

/// The model of the command line, by the id that it has. Throws DataError where it is not there.
LocalModel first_model(const ServeOptions& options);

/// nullopt: there is none on this machine. Throws UsageError where the id is a repository of several GGUF
/// files of which one has to be named.
std::optional<LocalModel> find_local(const ServeOptions& options, const std::string& id);
/// Throws HttpError 404 too.
LocalModel require_local(const ServeOptions& options, const std::string& id);

/// Whether all of its files are there, weights among them.
bool is_whole(const LocalModel& model);

/// Those that are whole and of a family that kvviz runs: demo, that of the command line, then the cache by
/// id.
std::vector<LocalModel> local_models(const ServeOptions& options);

/// Of its files, links followed.
int64_t bytes_of(const LocalModel& model);

/// A text that a client sent, short enough and plain enough for a message.
std::string shown(const std::string& id);

}  // namespace kvviz
