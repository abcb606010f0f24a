// SPDX-License-Identifier: MIT
#include "kvviz/download/api.hpp"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kvviz/core/json_number.hpp"

namespace kvviz::hub {
namespace {

using nlohmann::json;

constexpr size_t most_bytes = size_t{64} << 20;

bool is_hex(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// "" for another type, or no such member.
std::string text_in(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::optional<int64_t> count_in(const json& object, const char* name) {
  const auto at = object.find(name);
  const auto count = at == object.end() ? std::nullopt : whole_number(*at);
  return count.value_or(-1) >= 0 ? count : std::nullopt;
}

// false, "auto" or "manual".
std::string gated_in(const json& object) {
  const auto at = object.find("gated");
  if (at == object.end() || (at->is_boolean() && !at->get<bool>())) return {};
  return at->is_string() ? printable(at->get<std::string>(), 20) : "manual";
}

json parse_answer(const Reply& reply) {
  const auto answer = json::parse(reply.body, nullptr, false);
  const std::string type = reply.header("content-type");
  require(!answer.is_discarded(), reply.url.origin(), " does not answer as a hub does: expected JSON, got ",
          type.empty() ? "something else" : printable(type, 60), ", beginning with '",
          printable(reply.body, 60), "'; a page to log in to the network? Is HF_ENDPOINT right?");
  return answer;
}

RemoteFile read_file_entry(const json& entry) {
  RemoteFile file{.name = text_in(entry, "rfilename"), .size = count_in(entry, "size")};
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    file.sha256 = text_in(*lfs, "sha256");
    if (const auto size = count_in(*lfs, "size")) file.size = size;
  } else {
    file.git_blob = text_in(entry, "blobId");
  }
  if (!is_hex(file.sha256, 64)) file.sha256.clear();
  if (!is_hex(file.git_blob, 40)) file.git_blob.clear();
  return file;
}

constexpr size_t longest_word = 100;

std::string word_in(const json& object, const char* name) {
  return printable(text_in(object, name), longest_word);
}

std::vector<std::string> tags_in(const json& object) {
  std::vector<std::string> tags;
  if (const auto at = object.find("tags"); at != object.end() && at->is_array())
    for (const json& tag : *at)
      if (tag.is_string()) tags.push_back(printable(tag.get_ref<const std::string&>(), longest_word));
  return tags;
}

// Of the model card, which the hub repeats as a tag.
std::string license_in(const json& object, const std::vector<std::string>& tags) {
  const auto card = object.find("cardData");
  if (card != object.end() && card->is_object() && !word_in(*card, "license").empty())
    return word_in(*card, "license");
  constexpr std::string_view mark = "license:";
  const auto tag =
      std::ranges::find_if(tags, [&](const std::string& text) { return text.starts_with(mark); });
  return tag == tags.end() ? "" : tag->substr(mark.size());
}

ModelInfo read_model_info(const json& answer, const Reply& reply) {
  const bool shaped = answer.is_object() && answer.contains("siblings") && answer["siblings"].is_array();
  ModelInfo info;
  if (shaped) info = {.id = printable(text_in(answer, "id"), 200), .commit = text_in(answer, "sha")};
  require(shaped && is_commit(info.commit), reply.url.origin(),
          " does not answer as a hub does: expected an object with a commit (sha) and files (siblings) for ",
          printable(reply.url.target));
  info.gated = gated_in(answer);
  info.author = word_in(answer, "author");
  info.pipeline = word_in(answer, "pipeline_tag");
  info.tags = tags_in(answer);
  info.license = license_in(answer, info.tags);
  info.downloads = count_in(answer, "downloads");
  info.likes = count_in(answer, "likes");
  for (const json& entry : answer["siblings"])
    if (entry.is_object() && !text_in(entry, "rfilename").empty())
      info.files.push_back(read_file_entry(entry));
  return info;
}

std::string token_text(const HttpSettings& settings) {
  if (!settings.token) return "no access token was found";
  return cat("the token ", masked(settings.token), " (", settings.token.source, ") was sent");
}

constexpr const char* set_token =
    "set HF_TOKEN to a token of your account with the right to read (Settings, Access Tokens)";

}  // namespace

std::string refusal_text(const Reply& reply, const ModelName& name, const HttpSettings& settings) {
  const std::string code = reply.header("x-error-code"),
                    said = printable(reply.header("x-error-message"), 200);
  const std::string hub = settings.endpoint.text(), page = cat(hub, hub.ends_with('/') ? "" : "/", name.id);
  const std::string token = token_text(settings);
  const bool denied = reply.status == 401 || reply.status == 403;
  if (denied && code == "GatedRepo")
    return cat(name.id, " is gated: accept its terms at ", page, " with your account, then ",
               settings.token ? "use a token of that account" : set_token, "; ", token);
  if (reply.status == 404 && code == "RevisionNotFound")
    return cat(name.id, " has no revision ", name.revision, "; its branches and tags are listed at ", page,
               "/tree/main");
  if (reply.status == 404 && code == "EntryNotFound") return cat("the file is not in ", name.id);
  if (reply.status == 401 && settings.token && code != "RepoNotFound")
    return cat("the hub does not accept the access token (is it expired, or cut off?); ", token,
               "; make a new one, or unset it for a public model");
  if (denied || reply.status == 404)
    return cat("there is no model ", name.id, " at ", settings.endpoint.origin(),
               ", or it is private: check the spelling (kvviz models search); for a private one, ",
               settings.token ? "the token must belong to an account that may read it" : set_token, "; ",
               token);
  if (reply.status == 429)
    return cat(settings.endpoint.origin(), " got too many requests; wait some minutes",
               settings.token ? "" : cat(", or ", set_token));
  return cat(settings.endpoint.origin(), " answers with status ", reply.status, said.empty() ? "" : ": ",
             said, is_passing(reply.status) ? "; it has trouble, try again later" : "");
}

ModelInfo model_info(HttpClient& client, const ModelName& name) {
  const std::string target = cat("/api/models/", percent_encoded(name.id, "/"), "/revision/",
                                 percent_encoded(name.revision), "?blobs=true");
  const Reply reply = client.get(target, most_bytes);
  require(reply.status == 200, refusal_text(reply, name, client.settings()));
  return read_model_info(parse_answer(reply), reply);
}

std::vector<FoundModel> search_models(HttpClient& client, const SearchOptions& options) {
  std::string target = cat("/api/models?search=", percent_encoded(options.query),
                           "&sort=", percent_encoded(options.sort), "&direction=-1&limit=", options.limit);
  if (!options.filter.empty()) target += "&filter=" + percent_encoded(options.filter);
  for (const char* field : {"downloads", "likes", "gated", "lastModified"}) target += cat("&expand=", field);
  const Reply reply = client.get(target, most_bytes);
  require(reply.status == 200,
          reply.status == 401 ? refusal_text(reply, {}, client.settings())
                              : cat(client.settings().endpoint.origin(), " answers the search with status ",
                                    reply.status, is_passing(reply.status) ? "; try again later" : ""));
  const json answer = parse_answer(reply);
  require(answer.is_array(), reply.url.origin(), " does not answer as a hub does: expected a list of models");
  std::vector<FoundModel> models;
  for (const json& entry : answer) {
    if (!entry.is_object()) continue;
    const std::string id = text_in(entry, "id").empty() ? text_in(entry, "modelId") : text_in(entry, "id");
    if (!is_model_name(id)) continue;
    models.push_back({.id = id,
                      .downloads = count_in(entry, "downloads"),
                      .likes = count_in(entry, "likes"),
                      .gated = gated_in(entry),
                      .updated = printable(text_in(entry, "lastModified").substr(0, 10))});
  }
  return models;
}

std::string file_target(const std::string& id, const std::string& commit, const std::string& file) {
  return cat('/', percent_encoded(id, "/"), "/resolve/", commit, '/', percent_encoded(file, "/"));
}

void check_file_name(const std::string& name) {
  const bool plain = std::ranges::none_of(name, [](unsigned char c) { return c < ' ' || c == 0x7f; }) &&
                     name.find_first_of("\\:") == std::string::npos;
  bool parts = !name.empty() && name.size() <= 1000 && name.back() != '/';
  std::istringstream path(name);
  for (std::string part; std::getline(path, part, '/');)
    parts = parts && !part.empty() && part != "." && part != ".." && part.size() <= 200;
  require(plain && parts, "the hub names a file '", printable(name, 120),
          "', which is no plain relative path; nothing was written");
}

}  // namespace kvviz::hub
