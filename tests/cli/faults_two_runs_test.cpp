// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <map>
#include <thread>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "kvviz/core/file_lock.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace std::chrono_literals;
using test::eventually;
using test::Finished;
using test::Running;
using test::TemporaryFolder;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

TEST_CASE("[faults] a run waits for another that writes to the same folder, and says so") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "out/results");
  std::optional<FileLock> other = FileLock::if_free(folder / "out/results");
  REQUIRE(other.has_value());
  Running run({"profile", "--no-plots", "--out", "out"}, folder.path());
  CHECK(
      eventually([&] { return run.err() == "kvviz: waiting for another run that writes to out/results\n"; }));
  CHECK_FALSE(run.ended());
  CHECK(test::files_below(folder.path()).empty());
  other.reset();
  const Finished done = run.wait();
  CHECK_MESSAGE(done.code == 0, done.err);
  CHECK(fs::exists(folder / "out/results/profile.json"));
}

TEST_CASE("[faults] of two runs in one folder the files of the later one are there, all of them") {
  const Words a{"analyze", "--seq-len", "64", "--focus", "layers", "--csv", "--out", "out"},
      b{"analyze", "--seq-len", "80", "--focus", "layers", "--csv", "--out", "out"};
  const auto alone = [](const Words& command) {
    const TemporaryFolder folder;
    const Finished done = Running(command, folder.path()).wait();
    REQUIRE_MESSAGE(done.code == 0, done.err);
    return test::files_below(folder.path());
  };
  const auto of_a = alone(a), of_b = alone(b);
  REQUIRE(of_a != of_b);
  for (int round = 0; round < 3; ++round) {
    const TemporaryFolder folder;
    Running first(a, folder.path());
    Running second(b, folder.path());
    CHECK(first.wait().code == 0);
    CHECK(second.wait().code == 0);
    const auto both = test::files_below(folder.path());
    CHECK((both == of_a || both == of_b));
  }
  test::proved(
      {"two runs that write to one folder", "one waits for the other; the later one's files are whole", "0"});
}
