// SPDX-License-Identifier: MIT
#include "cli/batch_runs.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {
namespace fs = std::filesystem;
namespace {

using Words = std::vector<std::string>;

Words with(Words arguments, const Words& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void run(const Words& arguments, const fs::path& folder) {
  const Finished done = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

/// All that a run has put into results/, records left out.
void check_same(const fs::path& a, const fs::path& b) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(a / "results")) {
    if (!entry.is_regular_file() || holds(entry.path().filename().string(), ".records")) continue;
    ++files;
    const fs::path other = b / "results" / entry.path().filename();
    REQUIRE_MESSAGE(fs::exists(other), other.string());
    const std::string mine = read_file(entry.path()), theirs = read_file(other);
    size_t at = 0;
    while (at < mine.size() && at < theirs.size() && mine[at] == theirs[at]) ++at;
    CHECK_MESSAGE(mine == theirs, other.string(), " differs at byte ", at, ": ",
                  entry.path().extension() == ".json" ? mine.substr(at < 60 ? 0 : at - 60, 160) : "", " | ",
                  entry.path().extension() == ".json" ? theirs.substr(at < 60 ? 0 : at - 60, 160) : "");
  }
  CHECK(files > 0);
}

}  // namespace

void check_batch(const Words& given) {
  const Words arguments = with(given, {"--no-plots", "--threads", "4"});
  const std::string& command = arguments.front();
  const TemporaryFolder whole, one, shards, cut;
  run(with(arguments, {"--workers", "4"}), whole.path());
  run(with(arguments, {"--workers", "1"}), one.path());
  check_same(whole.path(), one.path());

  for (const char* shard : {"2/3", "0/3", "1/3"}) run(with(arguments, {"--shard", shard}), shards.path());
  CHECK_FALSE(fs::exists(shards / "results" / (command + ".json")));
  const auto part = [&](int i) { return cat("results/", command, '.', i, "-of-3.records"); };
  run({"merge", part(1), part(2), part(0), "--no-plots"}, shards.path());
  check_same(whole.path(), shards.path());

  run(with(arguments, {"--workers", "2"}), cut.path());
  const fs::path records = cut / "results" / (command + ".records");
  fs::remove(cut / "results" / (command + ".json"));
  // The last record is that the run has ended; before it stands that of a text.
  fs::resize_file(records, fs::file_size(records) - 100);
  run(with(arguments, {"--resume"}), cut.path());
  check_same(whole.path(), cut.path());
  run(with(arguments, {"--resume", "--workers", "3"}), cut.path());
  check_same(whole.path(), cut.path());
}

void check_failing_text(const Words& given) {
  const TemporaryFolder folder;
  const std::string good = [] {
    std::string text;
    for (int i = 0; i < 40; ++i) text += "The lamp was lit , and the old keeper went up the stairs . ";
    return text;
  }();
  std::ofstream(folder / "prompts.txt") << good << "\nx\xff\xfe\n" << good << "It rained .\n";
  const Words arguments = with(given, {"--prompts", "prompts.txt", "--no-plots"});
  const Finished done = run_kvviz(arguments, folder.path());
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(holds(done.err, "1 of 3 texts failed; the first, prompts.txt line 2: "));
  CHECK(holds(done.err, "failed_texts names it; --strict stops"));
  CHECK(run_kvviz(with(arguments, {"--quiet"}), folder.path()).err.empty());
  const auto result = nlohmann::json::parse(read_file(folder / "results" / (given.front() + ".json")));
  CHECK(result.at("summary").at("texts_failed") == 1);
  const auto& rows = result.at("tables").at("failed_texts").at("rows");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].at("text") == 1);
  CHECK(holds(rows[0].at("name").get<std::string>(), "line 2"));
  CHECK(holds(rows[0].at("reason").get<std::string>(), "UTF-8"));
  // What speaks of single texts counts the one that failed, too.
  for (const auto& [name, table] : result.at("tables").items()) {
    if (!name.ends_with("_texts") || name.ends_with("_over_texts") || name == "failed_texts") continue;
    std::set<int64_t> texts;
    for (const auto& row : table.at("rows")) texts.insert(row.at("text").get<int64_t>());
    const std::set<int64_t> measured{0, 2};
    CHECK_MESSAGE(texts == measured, name);
  }
  const Finished strict = run_kvviz(with(arguments, {"--strict", "--out", "strict"}), folder.path());
  CHECK(strict.code == 1);
  CHECK(holds(strict.err, "line 2"));
  CHECK_FALSE(fs::exists(folder / "strict"));
}

}  // namespace kvviz::test
