// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <regex>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace std::chrono_literals;
using test::Finished;
using test::holds;
using test::Running;
using test::TemporaryFolder;
using Words = std::vector<std::string>;

namespace {

void limit(decltype(RLIMIT_AS) what, rlim_t most) {
  const rlimit both{.rlim_cur = most, .rlim_max = most};
  setrlimit(what, &both);
}

constexpr rlim_t mib = rlim_t{1} << 20;

// Sanitizers map terabytes of addresses: with them no limit of addresses can be tried.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

}  // namespace

TEST_CASE("[faults] under ulimit -v a run does its work, or says how much it lacks" *
          doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  int refused = 0;
  for (const char* threads : {"1", "4"})
    for (const rlim_t megabytes : {40, 200, 560, 640, 720, 800, 1000, 1200, 1500}) {
      CAPTURE(threads);
      CAPTURE(megabytes);
      const Words command{"analyze", "--threads",  threads,   "--seq-len",
                          "64",      "--no-plots", "--focus", "layers"};
      const Finished done =
          Running(command, folder.path(), [&] { limit(RLIMIT_AS, megabytes * mib); }).wait(20s);
      if (done.code == 0) continue;
      ++refused;
      CHECK_MESSAGE(done.code == 1, done.err);
      CHECK_MESSAGE(done.err.starts_with("kvviz: "), done.err);
      CHECK_MESSAGE(holds(done.err, "ulimit -v leaves "), done.err);
      CHECK_MESSAGE((holds(done.err, " about ") || holds(done.err, "not enough memory")), done.err);
      CHECK_MESSAGE(!holds(done.err, "internal error"), done.err);
    }
  CHECK(refused >= 8);
  test::proved({"too little address space (`ulimit -v`) for the engine or its threads",
                "an estimate of what they need, and a refusal with both numbers", "1"});
}

TEST_CASE("[faults] a model that does not fit into ulimit -v is refused with the estimate" *
          doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  const auto run = [&](rlim_t bytes) {
    return Running({"analyze", "--threads", "1", "--seq-len", "1024", "--no-plots"}, folder.path(),
                   [=] { limit(RLIMIT_AS, bytes); })
        .wait(20s);
  };
  // What one thread lacks beside the model, and a few megabytes more: the model gets those.
  const std::string lacks = run(700 * mib).err;
  std::smatch numbers;
  REQUIRE_MESSAGE(std::regex_search(lacks, numbers,
                                    std::regex("needs about ([0-9]+) MB beside the model; ulimit "
                                               "-v leaves ([0-9.]+) MB")),
                  lacks);
  const double lacking = std::stod(numbers[1]) - std::stod(numbers[2]);
  const Finished done = run(700 * mib + static_cast<rlim_t>((lacking + 5) * 1e6));
  CHECK_MESSAGE(done.code == 1, done.err);
  CHECK_MESSAGE(holds(done.err, "demo needs about "), done.err);
  CHECK_MESSAGE(holds(done.err, "ulimit -v leaves "), done.err);
  CHECK(test::files_below(folder.path()).empty());
  test::proved({"a model and a text that do not fit into the memory there is",
                "refused before the weights are read, with the estimate and what would fit", "1"});
}

TEST_CASE("[faults] threads that cannot be started are an error, not a crash" * doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  const Finished done =
      Running({"analyze", "--threads", "4", "--seq-len", "64", "--no-plots"}, folder.path(), [] {
        limit(RLIMIT_STACK, 4096 * mib);  // that each thread would reserve
        limit(RLIMIT_AS, 3000 * mib);
      }).wait(20s);
  CHECK_MESSAGE(done.code == 1, done.err);
  CHECK_MESSAGE(holds(done.err, "ulimit -v leaves "), done.err);
  test::proved({"threads that cannot be started", "an error with the numbers", "1"});
}
