// SPDX-License-Identifier: MIT
#include "kvviz/batch/record_set.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <random>

#include "kvviz/core/error.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using batch::Plan;
using batch::RecordFile;
using batch::RecordSet;

TEST_CASE("[record set] a thousand shards in any order, with fewer open files than shards") {
  constexpr int64_t shards = 1000, texts = 1200;
  const test::TemporaryFolder folder;
  Plan plan{.command = "sinks",
            .arguments = {"--samples=0-1199"},
            .command_line = "kvviz sinks",
            .version = "1",
            .commit = "abc",
            .model = {{"config", 1}},
            .texts = {},
            .shard = {}};
  for (int64_t i = 0; i < texts; ++i)
    plan.texts.push_back(
        {.name = cat("text ", i), .tokens = 512, .sha256 = std::string(64, 'a'), .failure = ""});
  std::vector<std::filesystem::path> files;
  for (int64_t shard = 0; shard < shards; ++shard) {
    plan.shard = {shard, shards};
    files.push_back(folder / cat(shard, ".records"));
    RecordFile file = RecordFile::create(files.back(), plan);
    for (int64_t i = shard; i < texts; i += shards)
      file.add({i, "measured"}, std::vector<double>(600, 1.0 / static_cast<double>(i + 1)));
    file.finish();
  }
  std::mt19937 random(1);
  std::ranges::shuffle(files, random);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{.rlim_cur = 64, .rlim_max = before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
  const RecordSet set = RecordSet::open(files);
  for (int64_t i = 0; i < texts; ++i) {
    const auto record = set.find({i, "measured"});
    REQUIRE(record.has_value());
    CHECK(record->at(599) == 1.0 / static_cast<double>(i + 1));
  }
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}
