// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <map>

#include "kvviz/hub/environment.hpp"

using namespace kvviz::hub;

namespace {

Environment with(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

}  // namespace

TEST_CASE("[hub] the cache is found in the order of Python's huggingface_hub") {
  std::map<std::string, std::string> variables{{"HOME", "/home/u"}};
  CHECK(cache_folder(with(variables)) == "/home/u/.cache/huggingface/hub");
  variables["XDG_CACHE_HOME"] = "/x";
  CHECK(cache_folder(with(variables)) == "/x/huggingface/hub");
  variables["HF_HOME"] = "/hf";
  CHECK(cache_folder(with(variables)) == "/hf/hub");
  variables["HUGGINGFACE_HUB_CACHE"] = "/legacy";
  CHECK(cache_folder(with(variables)) == "/legacy");
  variables["HF_HUB_CACHE"] = "/new";
  CHECK(cache_folder(with(variables)) == "/new");
}

TEST_CASE("[hub] home and variables in a folder's name are replaced, a name that is not set stays") {
  const auto cache = [](const std::string& text) {
    return cache_folder(with({{"HOME", "/home/u"}, {"DISK", "/mnt"}, {"HF_HUB_CACHE", text}})).string();
  };
  CHECK(cache("~/c") == "/home/u/c");
  CHECK(cache("~") == "/home/u");
  CHECK(cache("~other/c") == "~other/c");
  CHECK(cache("$DISK/c") == "/mnt/c");
  CHECK(cache("a${DISK}c") == "a/mntc");
  CHECK(cache("$NONE/${NONE}/$") == "$NONE/${NONE}/$");
  CHECK(cache("${DISK") == "${DISK");
}

TEST_CASE("[hub] the token file, the endpoint and being offline") {
  CHECK(token_file(with({{"HOME", "/h"}})) == "/h/.cache/huggingface/token");
  CHECK(token_file(with({{"HF_HOME", "/hf"}})) == "/hf/token");
  CHECK(token_file(with({{"HF_HOME", "/hf"}, {"HF_TOKEN_PATH", "/secret"}})) == "/secret");
  CHECK(endpoint(with({})) == "https://huggingface.co");
  CHECK(endpoint(with({{"HF_ENDPOINT", "https://mirror.org/hf//"}})) == "https://mirror.org/hf");
  CHECK(offline_by(with({})) == "");
  for (const char* yes : {"1", "ON", "yes", "True"})
    CHECK(offline_by(with({{"HF_HUB_OFFLINE", yes}})) == "HF_HUB_OFFLINE");
  CHECK(offline_by(with({{"TRANSFORMERS_OFFLINE", "1"}})) == "TRANSFORMERS_OFFLINE");
  CHECK(offline_by(with({{"HF_HUB_OFFLINE", "0"}, {"TRANSFORMERS_OFFLINE", "1"}})) == "");
}
