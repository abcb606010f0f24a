// SPDX-License-Identifier: MIT
// What a server asks the hub for: the numbers in place of their printing.
#include <algorithm>
#include <filesystem>

#include "kvviz/download/choose_files.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/network/entry.hpp"

namespace kvviz {
namespace {

hub::HttpSettings settings_with(const hub::Token& token) {
  const auto environment = hub::process_environment();
  return hub::http_settings(environment,
                            token ? token : hub::find_token(environment, std::filesystem::current_path()));
}

/// model-00001-of-00003.safetensors of model.safetensors.index.json.
bool is_shard(const std::string& file, const std::string& index) {
  const std::string whole = index.substr(0, index.size() - std::string_view(".index.json").size());
  const size_t dot = whole.rfind('.');
  return file.starts_with(whole.substr(0, dot) + '-') && file.ends_with(whole.substr(dot));
}

std::optional<int64_t> bytes_of(const hub::ModelInfo& info, const std::string& gguf) try {
  std::vector<std::string> names;
  for (const hub::RemoteFile& file : info.files) names.push_back(file.name);
  const auto choice = hub::choose_files(names, {.gguf = !gguf.empty(), .wanted = gguf});
  int64_t bytes = 0;
  for (const hub::RemoteFile& file : info.files) {
    const bool chosen = std::ranges::find(choice.files, file.name) != choice.files.end();
    if (!chosen && (choice.index.empty() || !is_shard(file.name, choice.index))) continue;
    if (!file.size) return std::nullopt;
    bytes += *file.size;
  }
  return bytes;
} catch (const UsageError&) {
  return std::nullopt;
} catch (const DataError&) {
  return std::nullopt;
}

}  // namespace
}  // namespace kvviz

void kvviz_hub_search(const kvviz::hub::SearchOptions& options, std::vector<kvviz::hub::FoundModel>& found) {
  kvviz::hub::HttpClient client(kvviz::settings_with({}));
  found = kvviz::hub::search_models(client, options);
}

void kvviz_hub_model(const kvviz::hub::ModelName& name, kvviz::HubModel& model) {
  kvviz::hub::HttpClient client(kvviz::settings_with({}));
  model.info = kvviz::hub::model_info(client, name);
  model.bytes = kvviz::bytes_of(model.info, name.gguf);
}

void kvviz_hub_pull(const kvviz::HubPull& what, const kvviz::hub::PullProgress& progress,
                    const std::stop_token& stop) {
  const auto cache = kvviz::hub::cache_folder(kvviz::hub::process_environment());
  kvviz::hub::pull(kvviz::settings_with(what.token), {.name = what.name, .cache = cache}, progress, stop);
}
