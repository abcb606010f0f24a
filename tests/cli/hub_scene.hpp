// SPDX-License-Identifier: MIT
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/fake_hub.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {

/// A variable of this process and its children for as long as it lives; nullopt: not set.
class Variable {
 public:
  Variable(std::string name, const std::optional<std::string>& value) : name_(std::move(name)) {
    if (const char* before = std::getenv(name_.c_str())) before_ = before;
    set(value);
  }
  ~Variable() { set(before_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) {
    value ? setenv(name_.c_str(), value->c_str(), 1) : unsetenv(name_.c_str());
  }
  std::string name_;
  std::optional<std::string> before_;
};

/// The shipped model as a repository of the hub.
inline FakeModel shipped_model() {
  FakeModel model;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(KVVIZ_DATA) / "models/demo")) {
    const std::string name = entry.path().filename().string();
    model.files[name] = {read_file(entry.path()), name == "model.safetensors"};
  }
  return model;
}

/// A hub with the shipped model as own/er, an empty cache, and nothing of the user's environment.
struct HubScene {
  FakeHub hub;
  TemporaryFolder home, work;
  Variable endpoint{"HF_ENDPOINT", hub.endpoint()}, hf_home{"HF_HOME", home.path().string()},
      cache_{"HF_HUB_CACHE", std::nullopt}, legacy{"HUGGINGFACE_HUB_CACHE", std::nullopt},
      token{"HF_TOKEN", std::nullopt}, old_token{"HUGGING_FACE_HUB_TOKEN", std::nullopt},
      token_path{"HF_TOKEN_PATH", std::nullopt}, offline{"HF_HUB_OFFLINE", std::nullopt},
      transformers{"TRANSFORMERS_OFFLINE", std::nullopt}, timeout{"HF_HUB_DOWNLOAD_TIMEOUT", std::nullopt},
      no_proxy{"NO_PROXY", "127.0.0.1"};
  std::filesystem::path cache = home / "hub", model = cache / "models--own--er";

  HubScene() { hub.add("own/er", shipped_model()); }

  Finished run(std::vector<std::string> arguments) const { return run_kvviz(arguments, work.path()); }
  Finished models(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "models");
    return run(arguments);
  }
  nlohmann::json json(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--json", "-"});
    const Finished done = models(arguments);
    REQUIRE_MESSAGE(done.code == 0, done.err);
    return nlohmann::json::parse(done.out);
  }
};

}  // namespace kvviz::test
