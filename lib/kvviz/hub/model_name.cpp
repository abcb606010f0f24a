// SPDX-License-Identifier: MIT
#include "kvviz/hub/model_name.hpp"

#include <algorithm>
#include <cctype>

#include "kvviz/core/error.hpp"

namespace kvviz::hub {
namespace {

constexpr std::string_view folder_prefix = "models--";

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool is_part(std::string_view part) {
  return !part.empty() && part.size() <= 96 && is_word(part.front()) && is_word(part.back()) &&
         std::ranges::all_of(part, [](char c) { return is_word(c) || c == '-' || c == '.'; });
}

bool is_id(const std::string& id) {
  const size_t slash = id.find('/');
  const bool parts = slash == std::string::npos ? is_part(id)
                                                : is_part(std::string_view(id).substr(0, slash)) &&
                                                      is_part(std::string_view(id).substr(slash + 1));
  return parts && id.find("--") == std::string::npos && id.find("..") == std::string::npos &&
         !id.ends_with(".git");
}

// https://git-scm.com/docs/git-check-ref-format, less what a file system could take amiss.
bool is_revision(const std::string& text) {
  const auto plain = [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f &&
           std::string_view("~^:?*[\\").find(c) == std::string::npos;
  };
  return !text.empty() && text.size() <= 200 && text.front() != '/' && text.back() != '/' &&
         text.front() != '.' && text.back() != '.' && text.front() != '-' &&
         std::ranges::all_of(text, plain) && text.find("..") == std::string::npos &&
         text.find("//") == std::string::npos && text.find("/.") == std::string::npos &&
         text.find("@{") == std::string::npos;
}

struct Split {
  std::string id, revision, gguf;
  bool has_revision = false, has_gguf = false;
};

Split split(const std::string& text) {
  Split parts;
  const size_t colon = text.find(':');
  parts.has_gguf = colon != std::string::npos;
  if (parts.has_gguf) parts.gguf = text.substr(colon + 1);
  const std::string rest = text.substr(0, colon);
  const size_t at = rest.find('@');
  parts.has_revision = at != std::string::npos;
  if (parts.has_revision) parts.revision = rest.substr(at + 1);
  parts.id = rest.substr(0, at);
  return parts;
}

bool is_good(const Split& parts) {
  return is_id(parts.id) && (!parts.has_revision || is_revision(parts.revision)) &&
         (!parts.has_gguf || !parts.gguf.empty());
}

}  // namespace

bool is_commit(const std::string& text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void check_revision(const std::string& revision) {
  require<UsageError>(is_revision(revision), "revision '", revision,
                      "': expected a branch, a tag or a commit as git names them, e.g. main, v1.0");
}

bool is_model_name(const std::string& text) {
  return is_good(split(text));
}

ModelName parse_model_name(const std::string& text) {
  const Split parts = split(text);
  require<UsageError>(is_id(parts.id), "'", parts.id,
                      "' is no id of a model; expected name or owner/name, of letters, digits, _, - and ., "
                      "e.g. Qwen/Qwen2.5-0.5B");
  if (parts.has_revision) check_revision(parts.revision);
  require<UsageError>(!parts.has_gguf || !parts.gguf.empty(), "got '", text,
                      "': expected a GGUF file or its quantisation behind the colon, e.g. :Q8_0");
  ModelName name{.id = parts.id, .gguf = parts.gguf};
  if (parts.has_revision) name.revision = parts.revision;
  return name;
}

std::string folder_of_id(const std::string& id) {
  std::string folder = cat(folder_prefix, id);
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  return folder;
}

std::string id_of_folder(const std::string& folder) {
  if (!folder.starts_with(folder_prefix)) return {};
  std::string id = folder.substr(folder_prefix.size());
  if (const size_t sign = id.find("--"); sign != std::string::npos) id.replace(sign, 2, "/");
  return is_id(id) ? id : "";
}

}  // namespace kvviz::hub
