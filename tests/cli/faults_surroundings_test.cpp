// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using test::Finished;
using test::Running;
using test::TemporaryFolder;
using Files = std::vector<std::pair<std::string, std::string>>;
using Variables = std::vector<std::pair<const char*, std::string>>;
namespace fs = std::filesystem;

namespace {

Files files_of_run(const Variables& variables, const char* format, const char* focus) {
  const TemporaryFolder folder;
  const Finished done =
      Running({"analyze", "--seq-len", "64", "--focus", focus, "--csv", "--format", format, "--out", "out"},
              folder.path(),
              [&] {
                for (const auto& [name, value] : variables) setenv(name, value.c_str(), 1);
              })
          .wait();
  REQUIRE_MESSAGE(done.code == 0, done.err);
  Files files = test::files_below(folder / "out");
  files.emplace_back("stdout", done.out);
  return files;
}

void check_equal(const Files& got, const Files& want) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(got[i].first == want[i].first);
    CHECK_MESSAGE(got[i].second == want[i].second, want[i].first, " differs");
  }
}

// Locales of this machine's C library, made for the test: none needs to be installed.
void make_locale(const fs::path& folder, const std::string& name) {
  const std::string command =
      cat("localedef --no-archive -i ", name, " -f UTF-8 ", (folder / (name + ".UTF-8")).string());
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command,
                  " failed: Debian's package locales has what it needs");
}

}  // namespace

TEST_CASE("[faults] without gnuplot nothing is computed that would be lost, and what draws nothing runs") {
  const TemporaryFolder folder, nothing;
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--seq-len", "16", "--out", "out"});
    return Running(arguments, folder.path(), [&] { setenv("PATH", nothing.path().c_str(), 1); }).wait();
  };
  for (const char* command : {"analyze", "sinks", "tucker"}) {
    const Finished refused = run({command});
    CAPTURE(refused.err);
    CHECK(refused.code == 1);
    CHECK(test::holds(refused.err, "no gnuplot in PATH"));
    CHECK(test::holds(refused.err, "install the package gnuplot-nox, or give --no-plots\n"));
    CHECK_FALSE(fs::exists(folder / "out"));
  }
  for (const std::vector<std::string>& drawless : {std::vector<std::string>{"analyze", "--no-plots"},
                                                   {"analyze", "--samples", "0-1", "--shard", "0/2"}}) {
    const Finished done = run(drawless);
    CHECK_MESSAGE(done.code == 0, done.err);
  }
  test::proved({"gnuplot is not installed",
                "refused before the model is read; with `--no-plots` it is not missed", "1"});
}

TEST_CASE("[faults] a gnuplot that fails costs the figures and no numbers") {
  const TemporaryFolder folder, programs;
  const std::vector<std::string> analyze{"analyze", "--focus", "layers", "--seq-len", "16", "--out", "out"};
  CHECK(Running(analyze, folder.path()).wait().code == 0);
  CHECK(fs::exists(folder / "out/graphs/layers/layer_statistics.png"));
  const std::string before = read_file(folder / "out/results/analyze.json");
  std::ofstream(programs / "gnuplot") << "#!/bin/sh\necho broken >&2\nexit 1\n";
  fs::permissions(programs / "gnuplot", fs::perms::owner_all);
  const Finished done =
      Running(analyze, folder.path(), [&] { setenv("PATH", programs.path().c_str(), 1); }).wait();
  CHECK(done.code == 1);
  CHECK(test::holds(done.err, "gnuplot failed on"));
  CHECK(test::holds(done.err, "broken"));
  CHECK(test::holds(done.err, "the numbers are complete in out/results/analyze.json"));
  CHECK(test::holds(done.out, "Result: out/results/analyze.json"));
  const auto after = nlohmann::json::parse(read_file(folder / "out/results/analyze.json"));
  CHECK(after.at("figures").empty());
  CHECK(after.at("tables") == nlohmann::json::parse(before).at("tables"));
  CHECK_FALSE(fs::exists(folder / "out/graphs/layers/layer_statistics.png"));
  test::proved({"gnuplot fails on a figure",
                "the numbers are written all the same; no figure is kept, an earlier one neither", "1"});
}

TEST_CASE("[faults] the locale changes no byte") {
  const TemporaryFolder locales;
  const Files want = files_of_run({{"LC_ALL", "C"}}, "png", "all");
  CHECK(want.size() > 10);
  // A comma in numbers and dots between thousands; an i without a dot.
  for (const char* name : {"de_DE", "tr_TR"}) {
    CAPTURE(name);
    make_locale(locales.path(), name);
    check_equal(
        files_of_run({{"LOCPATH", locales.path().string()}, {"LC_ALL", cat(name, ".UTF-8")}}, "png", "all"),
        want);
  }
  test::proved({"another locale (decimal comma, Turkish i)",
                "results, figures and arrays are equal, byte by byte", "0"});
}

TEST_CASE("[faults] the time and the time zone change no byte") {
  const auto begin = std::chrono::steady_clock::now();
  const char* const formats[] = {"png", "svg", "pdf"};
  std::vector<Files> want;
  for (const char* format : formats) want.push_back(files_of_run({{"TZ", "UTC"}}, format, "layers"));
  // A picture may hold a time to the second.
  std::this_thread::sleep_until(begin + std::chrono::milliseconds(1100));
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(formats[i]);
    check_equal(files_of_run({{"TZ", "XYZ-14"}}, formats[i], "layers"), want[i]);
  }
  test::proved(
      {"another time, another time zone", "results, figures and arrays are equal, byte by byte", "0"});
}
