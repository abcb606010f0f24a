// SPDX-License-Identifier: MIT
#include "kvviz/hub/environment.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "kvviz/core/error.hpp"

namespace kvviz::hub {
namespace {

namespace fs = std::filesystem;

std::string home(const Environment& environment) {
  if (const auto folder = environment("HOME")) return *folder;
  const passwd* user = getpwuid(getuid());
  require(user != nullptr && user->pw_dir != nullptr,
          "HOME is not set, so that the Hugging Face cache cannot be found; set HF_HUB_CACHE to its folder");
  return user->pw_dir;
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// ~ and variables, as a shell writes them. A name that is not set stays as it is.
fs::path expanded(std::string text, const Environment& environment) {
  if (text == "~" || text.starts_with("~/")) text = home(environment) + text.substr(1);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const bool braces = text.compare(i, 2, "${") == 0;
    const size_t first = i + (braces ? 2 : 1);
    size_t end = first;
    while (text[i] == '$' && end < text.size() && is_word(text[end])) ++end;
    const bool named = text[i] == '$' && end > first && (!braces || (end < text.size() && text[end] == '}'));
    const auto value = named ? environment(text.substr(first, end - first)) : std::nullopt;
    if (!value) {
      out += text[i++];
      continue;
    }
    out += *value;
    i = end + (braces ? 1 : 0);
  }
  return out;
}

fs::path hugging_face_home(const Environment& environment) {
  if (const auto folder = environment("HF_HOME")) return expanded(*folder, environment);
  if (const auto folder = environment("XDG_CACHE_HOME"))
    return expanded(*folder, environment) / "huggingface";
  return fs::path(home(environment)) / ".cache/huggingface";
}

bool is_true(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
  };
}

fs::path cache_folder(const Environment& environment) {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const auto folder = environment(name)) return expanded(*folder, environment);
  return hugging_face_home(environment) / "hub";
}

fs::path token_file(const Environment& environment) {
  if (const auto file = environment("HF_TOKEN_PATH")) return expanded(*file, environment);
  return hugging_face_home(environment) / "token";
}

std::string endpoint(const Environment& environment) {
  std::string url = environment("HF_ENDPOINT").value_or("https://huggingface.co");
  url.erase(url.find_last_not_of('/') + 1);
  return url;
}

std::string offline_by(const Environment& environment) {
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"})
    if (const auto value = environment(name)) return is_true(*value) ? name : "";
  return {};
}

}  // namespace kvviz::hub
