// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"
#include "support/fake_hub.hpp"

using namespace kvviz;
using namespace std::chrono_literals;
using test::eventually;
using test::Finished;
using test::holds;
using test::Running;
using test::TemporaryFolder;
using Words = std::vector<std::string>;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

namespace {

// The longest that may pass between a signal and the end. Beside other tests a processor is not always free.
constexpr auto soon = 1000ms;

void check_stopped(Running& run, int signal, const fs::path& folder) {
  run.signal(signal);
  const auto sent = Clock::now();
  const Finished done = run.wait();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - sent);
  CHECK(took.count() < soon.count());
  CHECK_MESSAGE(done.code == 128 + signal, done.err);
  const size_t words = done.err.find("kvviz: interrupted (SIG");
  REQUIRE_MESSAGE(words != std::string::npos, done.err);
  CHECK(done.err.find('\n', words) + 1 == done.err.size());
  CHECK(test::invalid_files(folder).empty());
  CHECK(eventually([&] { return run.descendants().empty(); }, 1s));
}

void wait_for_the_engine(const Running& run) {
  const std::string maps = cat("/proc/", run.pid(), "/maps");
  REQUIRE(eventually([&] { return holds(read_file(maps), "libkvviz_engine.so"); }));
}

/// A gnuplot that draws half a picture, makes the file "drawing" and then waits.
void put_slow_gnuplot(const fs::path& folder) {
  std::ofstream(folder / "gnuplot") << "#!/bin/sh\nprintf half\n>'" << (folder / "drawing").string()
                                    << "'\nexec sleep 60\n";
  fs::permissions(folder / "gnuplot", fs::perms::owner_all);
}

}  // namespace

TEST_CASE("[faults] SIGINT, SIGTERM and SIGHUP stop every command while it computes") {
  const std::pair<Words, int> commands[] = {
      {{"analyze", "--seq-len", "1024"}, SIGINT},
      {{"sinks", "--seq-len", "512"}, SIGTERM},
      {{"simulate", "--seq-len", "512"}, SIGINT},
      {{"compress", "--seq-len", "512"}, SIGTERM},
      {{"prune", "--tokens", "0-3", "--seq-len", "512"}, SIGHUP},
      {{"tucker", "--seq-len", "512"}, SIGINT},
      {{"analyze_generation", "--generate", "400"}, SIGTERM},
      {{"analyze_similarity", "--seq-len", "1024"}, SIGINT},
  };
  for (const auto& [command, signal] : commands) {
    CAPTURE(command.front());
    const TemporaryFolder folder;
    Running run(command, folder.path());
    wait_for_the_engine(run);
    std::this_thread::sleep_for(300ms);  // it reads the model and computes
    check_stopped(run, signal, folder.path());
  }
  test::proved({"SIGINT, SIGTERM or SIGHUP while a command computes",
                "ends within a second; what is written by then is whole, no temporary file is left",
                "130, 143, 129"});
}

TEST_CASE("[faults] a signal at any moment of a run leaves whole files") {
  const TemporaryFolder folder;
  int stopped = 0;
  for (int i = 0; i < 10; ++i) {
    const int after = 20 + 110 * i;
    CAPTURE(after);
    Running run({"analyze", "--seq-len", "128", "--csv", "--out", "out"}, folder.path());
    std::this_thread::sleep_for(std::chrono::milliseconds(after));
    run.signal(SIGTERM);
    const Finished done = run.wait();
    // Later than the last words of a run, and before it can take signals, they have nothing to stop.
    CHECK_MESSAGE((done.code == 143 || done.code == 0 || done.code == 1000 + SIGTERM), done.code, done.err);
    stopped += done.code == 143;
    CHECK(test::invalid_files(folder.path()).empty());
    CHECK(eventually([&] { return run.descendants().empty(); }, 1s));
  }
  CHECK(stopped >= 4);
}

TEST_CASE("[faults] a signal ends gnuplot, and takes its half picture away") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TemporaryFolder folder;
    put_slow_gnuplot(folder.path());
    const std::string path = folder.path().string() + ':' + std::getenv("PATH");
    Running run({"analyze", "--seq-len", "64", "--out", "out"}, folder.path(),
                [&] { setenv("PATH", path.c_str(), 1); });
    const fs::path drawing = folder / "drawing";
    REQUIRE(eventually([&] { return fs::exists(drawing); }));
    // A process that is just becoming another program shows no environment.
    CHECK(eventually([&] { return !run.descendants().empty(); }, 1s));
    CHECK_FALSE(test::invalid_files(folder / "out").empty());  // the half picture, as long as it is drawn
    check_stopped(run, signal, folder / "out");
  }
  test::proved({"SIGINT or SIGTERM while gnuplot draws",
                "gnuplot is ended too, its half picture is taken away", "130, 143"});
}

TEST_CASE("[faults] a signal stops a download; what has come is kept for the next pull") {
  test::FakeHub hub;
  test::FakeModel model;
  for (const auto& entry : fs::directory_iterator(fs::path(KVVIZ_DATA) / "models/demo")) {
    const std::string name = entry.path().filename().string();
    model.files[name] = {read_file(entry.path()), name == "model.safetensors"};
  }
  const std::string weights = model.files.at("model.safetensors").contents;
  hub.add("own/er", model);
  std::atomic<bool> go_on = false;
  hub.fault([&](const test::Seen& seen, httplib::Response& response) {
    if (!seen.at_storage || go_on) return false;
    response.status = 200;
    response.set_content_provider(weights.size(), "binary/octet-stream",
                                  [&](size_t offset, size_t, httplib::DataSink& sink) {
                                    if (offset == 0) return sink.write(weights.data(), 100'000);
                                    return !eventually([&] { return go_on.load(); });
                                  });
    return true;
  });
  const TemporaryFolder home, work;
  const auto prepare = [&] {
    setenv("HF_ENDPOINT", hub.endpoint().c_str(), 1);
    setenv("HF_HUB_CACHE", home.path().c_str(), 1);
    setenv("NO_PROXY", "127.0.0.1", 1);
    unsetenv("HF_HUB_OFFLINE");
  };
  {
    Running run({"models", "pull", "own/er"}, work.path(), prepare);
    REQUIRE(eventually([&] {
      for (const auto& [name, bytes] : test::files_below(home.path()))
        if (name.ends_with(".incomplete") && bytes.size() == 100'000) return true;
      return false;
    }));
    run.signal(SIGINT);
    const Finished done = run.wait(soon);
    CHECK_MESSAGE(done.code == 130, done.err);
    CHECK(holds(done.err, "kvviz: interrupted (SIGINT)\n"));
  }
  go_on = true;
  hub.forget_requests();
  const Finished full = Running({"models", "pull", "own/er"}, work.path(), [&] {
                          prepare();
                          const rlimit most{.rlim_cur = 1'000'000, .rlim_max = 1'000'000};
                          setrlimit(RLIMIT_FSIZE, &most);
                        }).wait();
  CHECK(full.code == 1);
  CHECK_MESSAGE(holds(full.err, ".incomplete: File too large; what has arrived is kept"), full.err);
  Running again({"models", "pull", "own/er"}, work.path(), prepare);
  const Finished done = again.wait();
  CHECK_MESSAGE(done.code == 0, done.err);
  bool went_on = false;
  for (const test::Seen& seen : hub.requests()) went_on = went_on || seen.range == "bytes=100000-";
  CHECK(went_on);
  CHECK(hub.requests().back().range == "bytes=1000000-");
  test::proved({"SIGINT or SIGTERM during a download",
                "what has come is kept; the next pull goes on from there", "130, 143"});
}

TEST_CASE("[faults] Ctrl-C in a terminal ends the line of progress") {
  const TemporaryFolder folder;
  for (int i = 0; i < 2000; ++i)  // more than can be done before it is stopped
    std::ofstream(folder / "prompts.txt", std::ios::app)
        << i
        << " lighthouses stood on a rock in the sea, and each of them had a lamp that burned all night.\n";
  winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    const char* const arguments[] = {KVVIZ_EXECUTABLE, "sinks",  "--prompts", "prompts.txt",
                                     "--metric",       "share0", nullptr};
    if (chdir(folder.path().c_str()) == 0) execv(arguments[0], const_cast<char* const*>(arguments));
    _exit(127);
  }
  std::string text;
  char buffer[4096];
  bool typed = false;
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
    if (!typed && holds(text, "s left")) typed = write(terminal, "\x03", 1) == 1;
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(terminal);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  const size_t bar = text.rfind("s left"), words = text.find("kvviz: interrupted (SIGINT)\r\n");
  REQUIRE_MESSAGE(words != std::string::npos, text);
  CHECK(bar < words);
  CHECK(text[words - 1] == '\n');
  CHECK(words + std::string("kvviz: interrupted (SIGINT)\r\n").size() == text.size());
}

TEST_CASE("[faults] a signal that the caller ignores stays ignored") {
  const TemporaryFolder folder;
  Running run({"analyze", "--seq-len", "64", "--no-plots"}, folder.path(),
              [] { std::signal(SIGHUP, SIG_IGN); });
  wait_for_the_engine(run);
  run.signal(SIGHUP);
  const Finished done = run.wait();
  CHECK_MESSAGE(done.code == 0, done.err);
  test::proved({"the terminal closes on a run under nohup", "goes on", "0"});
}

TEST_CASE("[faults] a reader that goes away ends a command quietly") {
  const auto to_closed_pipe = [](const Words& arguments, const fs::path& folder) {
    int pipe_ends[2] = {};
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
    Running run(arguments, folder, [&] {
      close(pipe_ends[0]);
      dup2(pipe_ends[1], STDOUT_FILENO);
    });
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return run.wait();
  };
  const TemporaryFolder folder;
  const Finished list = to_closed_pipe({"list_samples"}, folder.path());
  CHECK(list.code == 128 + SIGPIPE);
  CHECK_MESSAGE(list.err.empty(), list.err);
  const Finished analysis =
      to_closed_pipe({"analyze", "--seq-len", "64", "--no-plots", "--quiet"}, folder.path());
  CHECK(analysis.code == 128 + SIGPIPE);
  CHECK_MESSAGE(analysis.err.empty(), analysis.err);
  CHECK(fs::exists(folder / "results/analyze.json"));
  CHECK(test::invalid_files(folder.path()).empty());
  test::proved(
      {"nobody reads stdout any more (a pipe to `head -1`)", "the files are written, no complaint", "141"});
}
