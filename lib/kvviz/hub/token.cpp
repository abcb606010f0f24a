// SPDX-License-Identifier: MIT
#include "kvviz/hub/token.hpp"

#include <algorithm>
#include <sstream>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/trimmed.hpp"

namespace kvviz::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* variables[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};

std::string unquoted(std::string_view text) {
  const bool quoted =
      text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  if (quoted) return std::string(text.substr(1, text.size() - 2));
  return std::string(trimmed(text.substr(0, text.find(" #"))));
}

// NAME=value, export NAME="value", # a comment.
std::string in_dotenv(const fs::path& file, const std::string& name) {
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    std::string_view text = trimmed(line);
    if (text.starts_with("export ")) text = trimmed(text.substr(7));
    const size_t sign = text.find('=');
    if (sign != text.npos && trimmed(text.substr(0, sign)) == name)
      return unquoted(trimmed(text.substr(sign + 1)));
  }
  return {};
}

Token checked(const std::string& text, const std::string& source) {
  const Token token{std::string(trimmed(text)), source};
  require(std::ranges::all_of(token.value, [](char c) { return c > ' ' && c <= '~'; }), "the token in ",
          source, " holds white space or characters that no token has; expected hf_ and letters and digits");
  return token;
}

}  // namespace

Token find_token(const Environment& environment, const fs::path& folder) {
  for (const char* name : variables)
    if (const auto value = environment(name))
      if (const Token token = checked(*value, name)) return token;
  std::error_code ignored;
  if (const fs::path file = token_file(environment); fs::is_regular_file(file, ignored))
    if (const Token token = checked(read_file(file), "the file " + file.string())) return token;
  if (const fs::path file = folder / ".env"; fs::is_regular_file(file, ignored))
    for (const char* name : variables)
      if (const Token token = checked(in_dotenv(file, name), cat(name, " of ", file.string()))) return token;
  return {};
}

std::string masked(const Token& token) {
  const bool hub = token.value.starts_with("hf_");
  const bool long_enough = token.value.size() >= 16;
  return cat(hub ? "hf_" : "", "****", long_enough ? token.value.substr(token.value.size() - 4) : "");
}

}  // namespace kvviz::hub
