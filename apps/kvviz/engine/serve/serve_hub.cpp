// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>

#include "kvviz/engine/serve/local_models.hpp"
#include "kvviz/engine/serve/model_requests.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/hub/token.hpp"
#include "kvviz/network.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;
using serve::Fields;
using serve::Reply;
using serve::Request;

ordered_json or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}
ordered_json or_null(const std::optional<int64_t>& number) {
  return number ? ordered_json(*number) : ordered_json(nullptr);
}

bool is_here(const std::string& id) {
  try {
    std::error_code ignored;
    return std::filesystem::exists(
        hub::cache_folder(hub::process_environment()) / hub::folder_of_id(id) / "snapshots", ignored);
  } catch (const DataError&) {  // no home folder
    return false;
  }
}

void require_online(const char* what) {
  const std::string offline = hub::offline_by(hub::process_environment());
  require(offline.empty(), offline, " forbids connections; ", what,
          " needs one. What is on this machine is listed without: GET /api/models");
}

Reply search(const Request& request) {
  Fields fields(request);
  constexpr size_t longest = 200;
  hub::SearchOptions options;
  options.query = fields.text("query", longest);
  options.limit = fields.integer("limit", 1, 100, 20);
  if (!fields.yes("text_generation", true)) options.filter.clear();
  fields.done();
  require_online("a search");
  auto models = ordered_json::array();
  for (const hub::FoundModel& model : search_hub(options))
    models.push_back({{"id", model.id},
                      {"downloads", or_null(model.downloads)},
                      {"likes", or_null(model.likes)},
                      {"gated", model.gated},
                      {"updated", or_null(model.updated)},
                      {"cached", is_here(model.id)}});
  return {ordered_json{{"models", std::move(models)}}};
}

std::string owner_of(const std::string& id) {
  const size_t slash = id.find('/');
  return slash == std::string::npos ? "" : id.substr(0, slash);
}

ordered_json local_card(const LocalModel& model) {
  return {{"id", model.id},
          {"source", model.source},
          {"author", or_null(model.source == "cache" ? owner_of(model.id) : "")},
          {"downloads", nullptr},
          {"likes", nullptr},
          {"gated", nullptr},
          {"pipeline", nullptr},
          {"tags", nullptr},
          {"license", nullptr},
          {"bytes", bytes_of(model)},
          {"cached", true}};
}

ordered_json hub_card(const std::string& id, const HubModel& model) {
  constexpr size_t most_tags = 8;
  std::vector<std::string> tags = model.info.tags;
  tags.resize(std::min(tags.size(), most_tags));
  return {{"id", id},
          {"source", "hub"},
          {"author", or_null(model.info.author.empty() ? owner_of(id) : model.info.author)},
          {"downloads", or_null(model.info.downloads)},
          {"likes", or_null(model.info.likes)},
          {"gated", model.info.gated},
          {"pipeline", or_null(model.info.pipeline)},
          {"tags", tags},
          {"license", or_null(model.info.license)},
          {"bytes", or_null(model.bytes)},
          {"cached", false}};
}

Reply info(const ServeState& state, const Request& request) {
  Fields fields(request);
  const std::string id = fields.text("id", longest_id);
  fields.done();
  const auto local = find_local(state.options, id);
  if (local && is_whole(*local)) return {local_card(*local)};
  if (!hub::is_model_name(id))
    throw serve::not_found("there is no model '", shown(id),
                           "'; expected one of GET /api/models, or name or owner/name of the hub");
  require_online("looking a model up");
  return {hub_card(id, model_at_hub(hub::parse_model_name(id)))};
}

Reply token(const Request& request) {
  Fields(request).done();
  const hub::Token token = hub::find_token(hub::process_environment(), std::filesystem::current_path());
  return {ordered_json{{"found", static_cast<bool>(token)},
                       {"source", or_null(token ? token.source : "")},
                       {"masked", or_null(token ? hub::masked(token) : "")}}};
}

}  // namespace

std::vector<serve::Route> hub_routes(ServeState& state) {
  return {{"GET", "/api/models/search", search},
          {"GET", "/api/models/info", [&](const Request& r) { return info(state, r); }},
          {"GET", "/api/models/token", token}};
}

}  // namespace kvviz
