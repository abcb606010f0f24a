// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "cli/fault_rows.hpp"
#include "cli/process.hpp"
#include "cli/running.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

// Runs over many texts that are ended in the middle, and go on.

using namespace kvviz;
using test::Finished;
using test::holds;
using test::run_kvviz;
using test::Running;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

/// Some seconds of work for one worker.
Words many_texts(const Words& more = {}) {
  Words all{"sinks",     "--probe", "random",     "--probe-count", "60", "--probe-tokens", "1000",
            "--workers", "1",       "--no-plots", "--threads",     "2",  "--out",          "out"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string result_in(const fs::path& folder) {
  return read_file(folder / "out/results/sinks.json");
}

/// The whole run's result, made once.
const std::string& whole_result() {
  static const std::string result = [] {
    const TemporaryFolder folder;
    const Finished done = run_kvviz(many_texts(), folder.path());
    REQUIRE_MESSAGE(done.code == 0, done.err);
    return result_in(folder.path());
  }();
  return result;
}

/// Ends a run by the signal when its records have so many bytes. Returns how it ended.
Finished cut_off(const fs::path& folder, uintmax_t bytes, int signal) {
  const fs::path records = folder / "out/results/sinks.records";
  Running run(many_texts({"--resume"}), folder);
  const auto grown = [&] {
    std::error_code none;
    return run.ended() || fs::file_size(records, none) >= bytes;
  };
  REQUIRE(test::eventually([&] { return fs::exists(records) && grown(); }, std::chrono::minutes(2)));
  run.signal(signal);
  return run.wait();
}

}  // namespace

TEST_CASE("[faults] kill -9, SIGTERM and SIGINT in the middle of a run over many texts, and --resume") {
  const TemporaryFolder folder;
  const fs::path records = folder / "out/results/sinks.records";
  uintmax_t at = 900'000;  // the first text has maps
  for (const int signal : {SIGKILL, SIGTERM, SIGKILL, SIGINT}) {
    CAPTURE(signal);
    const Finished ended = cut_off(folder.path(), at, signal);
    CHECK(ended.code == (signal == SIGKILL ? 1000 : 128) + signal);  // killed, or with an exit code
    CHECK_FALSE(fs::exists(folder / "out/results/sinks.json"));
    REQUIRE(fs::exists(records));
    const uintmax_t now = fs::file_size(records);
    CHECK(now + 10'000 > at);  // what was measured before is still there
    at = now + 30'000;
  }
  const Finished last = run_kvviz(many_texts({"--resume"}), folder.path());
  REQUIRE_MESSAGE(last.code == 0, last.err);
  CHECK(result_in(folder.path()) == whole_result());
  test::proved({"`kill -9`, SIGTERM or SIGINT in the middle of a run over many texts, several times",
                "every finished text has its record; with `--resume` the run goes on, to the same bytes as "
                "without a fault",
                "137, 143, 130; then 0"});
}

TEST_CASE("[faults] a disk that fills up in the middle of a run over many texts, and --resume") {
  const TemporaryFolder folder;
  // A file larger than is allowed is refused as one that no longer fits on the disk.
  const auto limit = [] {
    const rlimit most{.rlim_cur = 1'000'000, .rlim_max = 1'000'000};
    setrlimit(RLIMIT_FSIZE, &most);
  };
  const Finished full = Running(many_texts(), folder.path(), limit).wait();
  CHECK_MESSAGE(full.code == 1, full.err);
  CHECK_MESSAGE(holds(full.err, "out/results/sinks.records"), full.err);
  CHECK_MESSAGE(holds(full.err, "--resume"), full.err);
  CHECK(fs::file_size(folder / "out/results/sinks.records") <= 1'000'000);
  const Finished last = run_kvviz(many_texts({"--resume"}), folder.path());
  REQUIRE_MESSAGE(last.code == 0, last.err);
  CHECK(result_in(folder.path()) == whole_result());
  test::proved({"a disk that fills up in the middle of a run over many texts",
                "an error that names the records file, which holds every finished text; with room again, "
                "`--resume` goes on, to "
                "the same bytes",
                "1; then 0"});
}

TEST_CASE("[faults] two runs over many texts with one --out") {
  const TemporaryFolder folder;
  Running first(many_texts(), folder.path());
  REQUIRE(test::eventually([&] { return fs::exists(folder / "out/results/sinks.records"); }));
  const Finished second = run_kvviz(many_texts({"--resume"}), folder.path());
  CHECK(second.code == 1);
  CHECK_MESSAGE(holds(second.err, "is being written by another run"), second.err);
  const Finished done = first.wait();
  CHECK_MESSAGE(done.code == 0, done.err);
  CHECK(result_in(folder.path()) == whole_result());
  test::proved({"two runs over many texts with one `--out`",
                "the second is refused and names the records file; the first is not disturbed", "1"});
}
