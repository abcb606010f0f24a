// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <map>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/token.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;

namespace {

Environment with(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

}  // namespace

TEST_CASE("[hub] the token comes from HF_TOKEN, then the old variable, then the file, then .env") {
  const test::TemporaryFolder home, work;
  std::map<std::string, std::string> variables{{"HF_HOME", home.path().string()}};
  const auto found = [&] { return find_token(with(variables), work.path()); };
  CHECK_FALSE(static_cast<bool>(found()));
  write_file(work / ".env", "# HF_TOKEN=no\nOTHER=1\nexport HF_TOKEN = \"hf_env\" \n");
  CHECK(found().value == "hf_env");
  CHECK(holds(found().source, ".env"));
  write_file(home / "token", "  hf_file\n");
  CHECK(found().value == "hf_file");
  CHECK(holds(found().source, (home / "token").string()));
  variables["HUGGING_FACE_HUB_TOKEN"] = "hf_old";
  CHECK(found().value == "hf_old");
  variables["HF_TOKEN"] = "hf_new\n";
  CHECK(found().value == "hf_new");
  CHECK(found().source == "HF_TOKEN");
  variables["HF_TOKEN"] = "  ";
  CHECK(found().value == "hf_old");
}

TEST_CASE("[hub] lines of .env as people write them") {
  const test::TemporaryFolder home, work;
  const auto value = [&](const std::string& text) {
    write_file(work / ".env", text);
    return find_token(with({{"HF_HOME", home.path().string()}}), work.path()).value;
  };
  CHECK(value("HF_TOKEN=hf_a") == "hf_a");
  CHECK(value("HF_TOKEN='hf_a'\r\n") == "hf_a");
  CHECK(value("HF_TOKEN=hf_a # mine") == "hf_a");
  CHECK(value("HUGGING_FACE_HUB_TOKEN=hf_b") == "hf_b");
  CHECK(value("XHF_TOKEN=hf_a") == "");
  CHECK(value("HF_TOKEN") == "");
  CHECK(value("HF_TOKEN=\n") == "");
}

TEST_CASE("[hub] a token that could end a header is refused, and is not repeated") {
  const test::TemporaryFolder work;
  for (const std::string bad : {"hf_secret\r\nX: 1", "hf_secret x", "hf_s\u00e4cret", "hf_sec\x01ret"}) {
    const std::string message = test::message_of<DataError>([&] {
      find_token(with({{"HF_TOKEN", bad}, {"HF_HOME", work.path().string()}}), work.path());
    });
    CHECK(holds(message, "HF_TOKEN"));
    CHECK_FALSE(holds(message, "sec"));
  }
}

TEST_CASE("[hub] a masked token tells its kind and at most four characters") {
  CHECK(masked({"hf_abcdefghijklmnopWXYZ", ""}) == "hf_****WXYZ");
  CHECK(masked({"hf_short", ""}) == "hf_****");
  CHECK(masked({"something-else-that-is-long", ""}) == "****long");
  CHECK(masked({"x", ""}) == "****");
}
