// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/batch_runs.hpp"
#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::holds;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words sinks(const Words& more) {
  Words all{"sinks", "--samples", "0-4", "--seq-len", "80", "--no-plots"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void run(const Words& arguments, const fs::path& folder) {
  const auto done = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

std::string refused(const Words& arguments, const fs::path& folder, int code) {
  const auto done = run_kvviz(arguments, folder);
  CHECK_MESSAGE(done.code == code, done.err);
  return done.err;
}

/// For the time of the test.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("[batch] sinks: workers, shards, merge and resume give the same bytes") {
  test::check_batch({"sinks", "--samples", "0-4", "--seq-len", "80"});
  test::check_batch({"sinks", "--probe", "random", "--probe-count", "9", "--tokens-per-sequence", "32",
                     "--config", "/dev/null"});
}

TEST_CASE("[batch] sinks: a text that fails is named, and the rest goes on") {
  test::check_failing_text({"sinks", "--metric", "share0"});
}

TEST_CASE("[batch] prompts: every .txt file of a folder is a text, in the order of the names") {
  const test::TemporaryFolder folder;
  fs::create_directory(folder / "texts");
  std::ofstream(folder / "texts" / "b.txt") << "The lamp was lit .\nIt rained .\n";
  std::ofstream(folder / "texts" / "a.txt") << "The keeper went up the stairs .\n";
  std::ofstream(folder / "texts" / "notes.md") << "Not a text .\n";
  const auto result = test::result_of({"sinks", "--prompts", "texts", "--metric", "share0"}, folder.path());
  const auto& rows = result.at("tables").at("sink_texts").at("rows");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("name") == "file texts/a.txt");
  CHECK(rows[1].at("name") == "file texts/b.txt");
  fs::remove(folder / "texts" / "a.txt");
  fs::remove(folder / "texts" / "b.txt");
  CHECK(holds(refused({"sinks", "--prompts", "texts"}, folder.path(), 1), "texts holds no *.txt file"));
}

TEST_CASE("[batch] articles that are joined to reach --seq-len share tokens, and a line says so") {
  const test::TemporaryFolder folder;
  fs::copy(KVVIZ_DATA "/models/demo", folder / "model", fs::copy_options::recursive);
  auto config = nlohmann::json::parse(read_file(folder / "model/config.json"));
  config["max_position_embeddings"] = 8192;
  std::ofstream(folder / "model/config.json") << config.dump();
  const auto said = [&](const char* length) {
    return run_kvviz({"sinks", "--model", "model", "--samples", "0-2", "--seq-len", length, "--no-plots"},
                     folder.path())
        .err;
  };
  CHECK(holds(said("3000"), "2 of 3 texts are shorter than --seq-len 3000"));
  CHECK_FALSE(holds(said("300"), "shorter"));
}

TEST_CASE("[batch] resume refuses another run's records, says what differs, and leaves them") {
  const test::TemporaryFolder folder;
  const fs::path records = folder / "results/sinks.records";
  run(sinks({"--resume"}), folder.path());  // nothing to go on with
  const std::string before = read_file(records);
  CHECK(holds(refused(sinks({"--resume", "--metric", "share0"}), folder.path(), 2), "--metric=share0"));
  CHECK(holds(
      refused({"sinks", "--samples", "0-3", "--seq-len", "80", "--no-plots", "--resume"}, folder.path(), 2),
      "--samples=0-3"));
  CHECK(read_file(records) == before);
  std::ofstream(folder / "p.txt") << "The lamp was lit .\nIt rained .\n";
  const Words prompts{"sinks", "--prompts", "p.txt", "--metric", "share0", "--no-plots", "--out", "p"};
  run(prompts, folder.path());
  std::ofstream(folder / "p.txt") << "The lamp was lit .\nIt snowed .\n";
  Words again = prompts;
  again.push_back("--resume");
  CHECK(holds(refused(again, folder.path(), 2), "text 1"));
}

TEST_CASE("[batch] an unfinished run's records are kept when another begins without --resume") {
  const test::TemporaryFolder folder;
  const fs::path records = folder / "results/sinks.records";
  run(sinks({}), folder.path());
  run(sinks({}), folder.path());
  CHECK_FALSE(fs::exists(records.string() + ".old"));  // nothing was lost: that run had ended
  for (const char* aside : {".old", ".old2"}) {
    fs::resize_file(records, fs::file_size(records) - 100);
    const auto again = run_kvviz(sinks({}), folder.path());
    CHECK(
        holds(again.err, cat("is kept as ./results/sinks.records", aside, ". --resume would have gone on")));
    CHECK(fs::exists(records.string() + aside));
  }
}

TEST_CASE("[batch] resume takes in a text that could not be read, and a list of one text") {
  const test::TemporaryFolder folder;
  fs::create_directory(folder / "texts");
  std::ofstream(folder / "texts" / "a.txt") << "The keeper went up the stairs .\n";
  const Words line{"sinks",      "--prompts", "texts",     "--metric", "share0",
                   "--no-plots", "--resume",  "--workers", "2"};
  run(line, folder.path());
  std::ofstream(folder / "texts" / "b.txt") << "The lamp was lit .\n";
  std::ofstream(folder / "texts" / "c.txt") << "\xff\xfe";
  run(line, folder.path());
  CHECK(
      nlohmann::json::parse(read_file(folder / "results/sinks.json")).at("tables").contains("failed_texts"));
  std::ofstream(folder / "texts" / "c.txt") << "It rained .\n";
  run(line, folder.path());
  const std::string resumed = read_file(folder / "results/sinks.json");
  fs::remove_all(folder / "results");
  run(line, folder.path());
  CHECK(read_file(folder / "results/sinks.json") == resumed);
}

TEST_CASE("[batch] a finished run does not go on with other weights, and needs none") {
  const test::TemporaryFolder folder;
  fs::copy(KVVIZ_DATA "/models/demo", folder / "model", fs::copy_options::recursive);
  const fs::path weights = folder / "model" / "model.safetensors";
  const Words line = sinks({"--model", "model", "--resume"});
  run(line, folder.path());
  const std::string result = read_file(folder / "results/sinks.json");
  std::string bytes = read_file(weights);
  write_file(weights, bytes);  // another time, the same weights
  run(line, folder.path());
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(weights, bytes);
  CHECK(holds(refused(line, folder.path(), 2), "is of another model: weights with the SHA-256"));
  fs::remove(weights);
  run(line, folder.path());
  CHECK(read_file(folder / "results/sinks.json") == result);
}

TEST_CASE("[batch] options for several texts are refused with one, and with random numbers") {
  for (const Words& option : {Words{"--resume"}, Words{"--shard", "0/1"}, Words{"--workers", "2"}}) {
    Words all{"analyze", "--prompt", "It rained ."};
    all.insert(all.end(), option.begin(), option.end());
    CHECK(holds(test::refused(all, 2), "runs over several texts"));
  }
  CHECK(holds(test::refused({"sinks", "--samples", "2", "--shard", "0/1"}, 2), "runs over several texts"));
  CHECK(holds(test::refused({"sinks", "--shard", "8/8"}, 2), "0/8 to 7/8"));
  CHECK(holds(test::refused({"sinks", "--shard", "x"}, 2), "0/8 to 7/8"));
  CHECK(holds(test::refused({"sinks", "--shard", "0/9"}, 2), "only 8 texts"));
  CHECK(holds(test::refused({"sinks", "--shard", "0/2", "--evaluate-reuse"}, 2), "cannot be shared out"));
  CHECK(
      holds(test::refused({"sinks", "--synthetic", "llama-3.1-8b", "--resume"}, 2), "takes no model, text"));
  CHECK(holds(test::refused({"sinks", "--shard", "auto"}, 2), "no launcher"));
  for (const Words& taken : {Words{"--fail-if", "sink_rate<0.1"}, Words{"--json", "-"},
                             Words{"--fail-if", "sink_rate<0.1", "--junit", "gates.xml"}}) {
    Words shard{"sinks", "--shard", "0/2"};
    shard.insert(shard.end(), taken.begin(), taken.end());
    CHECK(holds(test::refused(shard, 2), "give --fail-if, --junit and --json to kvviz merge"));
  }
  CHECK(holds(test::refused({"compress", "--samples", "0-1", "--methods", "q8_0", "--workers", "2"}, 2),
              "add --no-timings"));
}

TEST_CASE("[batch] shards from the environment: Slurm's arrays, Open MPI, srun") {
  const test::TemporaryFolder folder;
  const auto shard = [&] { run(sinks({"--shard", "auto"}), folder.path()); };
  const auto wrote = [&](const char* name) { return fs::exists(folder / "results" / name); };
  {
    const Environment id("SLURM_ARRAY_TASK_ID", "14"), count("SLURM_ARRAY_TASK_COUNT", "3"),
        least("SLURM_ARRAY_TASK_MIN", "10"), step("SLURM_ARRAY_TASK_STEP", "2"), rank("SLURM_PROCID", "0"),
        ranks("SLURM_NTASKS", "1");
    shard();
    CHECK(wrote("sinks.2-of-3.records"));
  }
  {
    const Environment rank("OMPI_COMM_WORLD_RANK", "1"), size("OMPI_COMM_WORLD_SIZE", "3");
    shard();
    CHECK(wrote("sinks.1-of-3.records"));
  }
  {
    const Environment rank("SLURM_PROCID", "0"), size("SLURM_NTASKS", "3");
    shard();
    CHECK(wrote("sinks.0-of-3.records"));
  }
  {
    const Environment id("SLURM_ARRAY_TASK_ID", "5"), count("SLURM_ARRAY_TASK_COUNT", "3");
    CHECK(holds(refused(sinks({"--shard", "auto"}), folder.path(), 2), "SLURM_ARRAY_TASK_ID=5 is none of"));
  }
  run({"merge", ".", "--no-plots", "--fail-if", "texts<1"}, folder.path());
  CHECK(wrote("sinks.json"));
  CHECK(run_kvviz({"merge", ".", "--no-plots", "--fail-if", "texts>1"}, folder.path()).code == 4);
}

TEST_CASE("[merge] what is missing, twice there, unfinished, damaged or of another run is named") {
  const test::TemporaryFolder folder;
  for (const char* shard : {"0/3", "1/3", "2/3"}) run(sinks({"--shard", shard, "--out", "a"}), folder.path());
  const std::string a = "a/results/sinks.", end = "-of-3.records";
  const auto merged = [&](const Words& files, int code) {
    Words all{"merge"};
    all.insert(all.end(), files.begin(), files.end());
    return refused(all, folder.path(), code);
  };
  CHECK(holds(merged({a + "0" + end, a + "2" + end}, 1), "shard 1 of 3 is missing"));
  CHECK(holds(merged({a + "0" + end, "a"}, 2), "both hold shard 0"));
  CHECK(holds(merged({"b"}, 1), "b does not exist"));
  CHECK(holds(merged({a + "0" + end, a + "1" + end, a + "2" + end, "--fail-if", "nothing>1"}, 2), "nothing"));
  run({"sinks", "--samples", "0-4", "--seq-len", "81", "--no-plots", "--shard", "1/3", "--out", "b"},
      folder.path());
  CHECK(holds(merged({a + "0" + end, "b", a + "2" + end}, 2), "--seq-len=81"));
  const fs::path one = folder / (a + "1" + end);
  const std::string whole = read_file(one);
  fs::resize_file(one, whole.size() - 20);
  CHECK(holds(merged({"a"}, 1), "is not finished"));
  std::string damaged = whole;
  damaged[whole.size() - 400] ^= 1;
  std::ofstream(one, std::ios::binary) << damaged;
  CHECK(holds(merged({"a"}, 1), "is damaged at byte"));
  std::ofstream(one, std::ios::binary) << "text";
  CHECK(holds(merged({"a"}, 1), "is not a records file"));
}
