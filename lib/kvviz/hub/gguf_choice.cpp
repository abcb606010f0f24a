// SPDX-License-Identifier: MIT
#include "kvviz/hub/gguf_choice.hpp"

#include <algorithm>
#include <cctype>

#include "kvviz/core/error.hpp"
#include "kvviz/core/part_name.hpp"

namespace kvviz::hub {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string base_name(const std::string& file) {
  return file.substr(file.find_last_of('/') + 1);
}

// As a word: Q4_K is not in ...-Q4_K_M.gguf, nor Q4_0 in ...-IQ4_0.gguf.
bool has_word(const std::string& text, const std::string& word) {
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    const bool starts = at == 0 || !in_word(text[at - 1]);
    const bool ends = end == text.size() || (!in_word(text[end]) && text[end] != '_');
    if (starts && ends) return true;
  }
  return false;
}

bool is_named(const std::string& file, const std::string& wanted) {
  const std::string name = lower(file), word = first_part(lower(wanted));
  return name == word || base_name(name) == word || base_name(name) == word + ".gguf";
}

std::string listed(const std::vector<std::string>& files) {
  std::string text;
  const size_t shown = std::min<size_t>(files.size(), 40);
  for (size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : ", ") + files[i];
  return files.size() > shown ? cat(text, " and ", files.size() - shown, " more") : text;
}

}  // namespace

std::vector<std::string> gguf_files(const std::vector<std::string>& files) {
  std::vector<std::string> models;
  for (const std::string& file : files) {
    const std::string name = lower(base_name(file));
    if (name.ends_with(".gguf") && !has_word(name, "mmproj") && first_part(name) == name)
      models.push_back(file);
  }
  std::ranges::sort(models);
  return models;
}

std::string choose_gguf(const std::vector<std::string>& files, const std::string& wanted) {
  const auto models = gguf_files(files);
  require<UsageError>(!models.empty(), "there is no GGUF file");
  std::vector<std::string> found;
  const auto keep = [&](auto matches) {
    if (found.empty()) std::ranges::copy_if(models, std::back_inserter(found), matches);
  };
  if (wanted.empty()) {
    found = models;
  } else {
    keep([&](const std::string& file) { return is_named(file, wanted); });
    keep([&](const std::string& file) { return has_word(lower(base_name(file)), lower(wanted)); });
  }
  require<UsageError>(!found.empty(), "no GGUF file is called ", wanted,
                      " or has it in its name; there are: ", listed(models));
  require<UsageError>(found.size() == 1,
                      wanted.empty() ? "there are several GGUF files" : wanted + " fits several",
                      "; name one of: ", listed(found));
  return found.front();
}

std::vector<std::string> gguf_parts(const std::vector<std::string>& files, const std::string& model) {
  std::vector<std::string> parts = all_parts(model);
  for (const std::string& part : parts)
    require(std::ranges::find(files, part) != files.end(), "the repository lacks ", part, "; ", model,
            " is one of ", parts.size(), " files of a model");
  return parts;
}

}  // namespace kvviz::hub
