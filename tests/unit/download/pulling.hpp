// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/download/api.hpp"
#include "kvviz/download/pull.hpp"
#include "support/errors.hpp"
#include "support/fake_hub.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {

inline const std::string commit = std::string(39, '0') + "1";
inline const std::string config = R"({"model_type": "llama", "hidden_size": 8})";

/// 600,000 bytes in which no two stretches are alike.
inline const std::string& weights() {
  static const std::string bytes = [] {
    std::string text;
    for (uint32_t i = 0; text.size() < 600000; ++i) text += std::to_string(i * 2654435761U);
    return text;
  }();
  return bytes;
}

inline FakeModel small_model(const std::string& gated = "") {
  return {.files = {{"config.json", {config}},
                    {"tokenizer.json", {"{}"}},
                    {"README.md", {"# not needed"}},
                    {"pytorch_model.bin", {"not needed", true}},
                    {"model.safetensors", {weights(), true}}},
          .gated = gated};
}

inline hub::HttpSettings settings_of(const FakeHub& hub, const std::string& token = "") {
  hub::HttpSettings settings;
  settings.endpoint = hub::parse_url(hub.endpoint());
  settings.token = {token, "a test"};
  settings.first_pause = std::chrono::milliseconds(1);
  settings.read_timeout = std::chrono::seconds(2);
  return settings;
}

inline hub::PullResult pull_from(const FakeHub& hub, const std::filesystem::path& cache,
                                 const std::string& token = "") {
  return hub::pull(settings_of(hub, token), {.name = {"own/er"}, .cache = cache}, [](int64_t, int64_t) {});
}

/// Every file and link below a folder, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_symlink() || !entry.is_directory())
      names.push_back(entry.path().lexically_relative(folder).string());
  std::ranges::sort(names);
  return names;
}

}  // namespace kvviz::test
