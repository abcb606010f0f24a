// SPDX-License-Identifier: MIT
#include "kvviz/hub/model_name.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>
#include <string_view>
#include <vector>

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

bool is_address(const std::string& text) {
  return text.find("://") != std::string::npos || text.starts_with("huggingface.co/") ||
         text.starts_with("hf.co/");
}

/// The name of the model that a page of the hub is of: "gpt2" of "https://huggingface.co/gpt2/tree/main";
/// empty: it is of none.
std::string name_of_page(const std::string& address) {
  const size_t scheme = address.find("://");
  std::istringstream path(address.substr(scheme == std::string::npos ? 0 : scheme + 3));
  std::vector<std::string> parts;
  for (std::string part; std::getline(path, part, '/');)
    parts.push_back(part.substr(0, part.find_first_of("?#")));
  constexpr std::array<std::string_view, 3> hosts{"huggingface.co", "www.huggingface.co", "hf.co"};
  const bool of_hub = parts.size() >= 2 && std::ranges::count(hosts, parts[0]) > 0;
  if (!of_hub || parts[1] == "datasets" || parts[1] == "spaces") return {};
  constexpr std::array<std::string_view, 5> views{"tree", "blob", "resolve", "raw", "discussions"};
  const auto is_view = [&](size_t at) {
    return at < parts.size() && std::ranges::count(views, parts[at]) > 0;
  };
  const size_t end = is_view(2) || parts.size() == 2 || parts[2].empty() ? 2 : 3;
  std::string name = end == 2 ? parts[1] : parts[1] + '/' + parts[2];
  if (!is_id(name)) return {};
  const bool has_revision = is_view(end) && parts[end] != "discussions" && parts.size() > end + 1;
  if (has_revision && parts[end + 1] != ModelName{}.revision) name += '@' + parts[end + 1];
  if (has_revision && parts.back().ends_with(".gguf")) name += ':' + parts.back();
  return name;
}

bool is_good(const Split& parts) {
  return is_id(parts.id) && (!parts.has_revision || is_revision(parts.revision)) &&
         (!parts.has_gguf || !parts.gguf.empty());
}

}  // namespace

void refuse_address(const std::string& text) {
  if (!is_address(text)) return;
  const std::string name = name_of_page(text);
  throw UsageError(cat("'", text, "' is an address; ",
                       name.empty() ? "expected the model's id, name or owner/name, e.g. Qwen/Qwen2.5-0.5B"
                                    : "the model's name is " + name));
}

bool is_commit(const std::string& text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void check_revision(const std::string& revision) {
  require<UsageError>(is_revision(revision), "revision '", revision,
                      "': expected a branch, a tag or a commit as git names them, e.g. main, v1.0");
}

bool is_model_name(const std::string& text) {
  return !is_address(text) && is_good(split(text));
}

ModelName parse_model_name(const std::string& text) {
  refuse_address(text);
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
