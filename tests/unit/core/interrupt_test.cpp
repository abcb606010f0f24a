// SPDX-License-Identifier: MIT
#include "kvviz/core/interrupt.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/child.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/mapped_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

struct Ended {
  int status = 0;
  std::string err;
};

/// `work` in a process of its own that watches signals; it is to end by one.
template <class Work>
Ended watched(const TemporaryFolder& folder, Work work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(open((folder / "err").c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    watch_signals();
    work();
    std::this_thread::sleep_for(std::chrono::seconds(20));
    _exit(0);
  }
  Ended ended;
  waitpid(child, &ended.status, 0);
  ended.err = read_file(folder / "err");
  fs::remove(folder / "err");
  return ended;
}

}  // namespace

TEST_CASE("[interrupt] a signal undoes the latest first, and ends with 128 + its number") {
  const TemporaryFolder folder;
  const Ended ended = watched(folder, [&] {
    const auto say = [&](const char* what) {
      return [what, told = false, &folder]() mutable {
        if (!std::exchange(told, true)) std::ofstream(folder / "told", std::ios::app) << what;
      };
    };
    const AtInterrupt first(say("first "));
    { const AtInterrupt gone(say("gone ")); }
    const AtInterrupt second(say("second "));
    kill(getpid(), SIGTERM);
    std::this_thread::sleep_for(std::chrono::seconds(20));
  });
  CHECK(WIFEXITED(ended.status));
  CHECK(WEXITSTATUS(ended.status) == 128 + SIGTERM);
  CHECK(ended.err == "kvviz: interrupted (SIGTERM)\n");
  CHECK(read_file(folder / "told") == "second first ");
}

TEST_CASE("[interrupt] nothing is committed after a signal, and no half file stays") {
  const TemporaryFolder folder;
  write_file(folder / "result", "old");
  const Ended ended = watched(folder, [&] {
    AtomicFile file(folder / "result");
    std::ofstream(file.temporary()) << "half";
    kill(getpid(), SIGINT);
    std::this_thread::sleep_for(std::chrono::seconds(20));
  });
  CHECK(WEXITSTATUS(ended.status) == 130);
  CHECK(read_file(folder / "result") == "old");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("[interrupt] a signal that meets a lock held for ever still ends the process") {
  const TemporaryFolder folder;
  const auto begin = std::chrono::steady_clock::now();
  const Ended ended = watched(folder, [] {
    std::thread([] {
      const Uninterrupted now;
      std::this_thread::sleep_for(std::chrono::seconds(20));
    }).detach();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    kill(getpid(), SIGINT);
    std::this_thread::sleep_for(std::chrono::seconds(20));
  });
  CHECK(WEXITSTATUS(ended.status) == 130);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(1500));
}

TEST_CASE("[interrupt] an ignored signal stays ignored; the others are watched") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGHUP, SIG_IGN);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    watch_signals();
    kill(getpid(), SIGHUP);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    kill(getpid(), SIGTERM);
    std::this_thread::sleep_for(std::chrono::seconds(20));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 128 + SIGTERM);
}

TEST_CASE("[interrupt] a mapping whose file was cut short names the file") {
  const TemporaryFolder folder;
  write_file(folder / "weights", std::string(1 << 16, 'w'));
  const Ended ended = watched(folder, [&] {
    const MappedFile mapped(folder / "weights");
    fs::resize_file(folder / "weights", 10);
    const volatile std::byte last = mapped.bytes().back();
    (void)last;
  });
  CHECK(WIFEXITED(ended.status));
  CHECK(WEXITSTATUS(ended.status) == 1);
  CHECK(ended.err.starts_with("kvviz: " + (folder / "weights").string() + " changed while it was read"));
}

TEST_CASE("[interrupt] other unreadable memory stays the crash that it is") {
  const TemporaryFolder folder;
  write_file(folder / "file", std::string(1 << 16, 'w'));
  const Ended ended = watched(folder, [&] {
    const int file = open((folder / "file").c_str(), O_RDONLY);
    const auto* bytes =
        static_cast<const volatile char*>(mmap(nullptr, 1 << 16, PROT_READ, MAP_PRIVATE, file, 0));
    fs::resize_file(folder / "file", 10);
    (void)bytes[50'000];
  });
  CHECK(WIFSIGNALED(ended.status));
  CHECK(WTERMSIG(ended.status) == SIGBUS);
}

TEST_CASE("[interrupt] a child is killed, and starts as from a shell") {
  const TemporaryFolder folder;
  const Ended ended = watched(folder, [&] {
    status_of_child(
        [&](pid_t& child) {
          const int parent = getpid();
          child = fork();
          if (child > 0) return;
          be_a_child(parent);
          sigset_t blocked;
          sigprocmask(SIG_BLOCK, nullptr, &blocked);
          struct sigaction pipe {};
          sigaction(SIGPIPE, nullptr, &pipe);
          const bool plain =
              sigisemptyset(&blocked) == 1 && pipe.sa_handler == SIG_DFL && getpgrp() == getpid();
          { const Uninterrupted own; }  // the parent holds its lock just now
          std::ofstream(folder / "child") << getpid() << ' ' << plain;
          kill(parent, SIGTERM);
          std::this_thread::sleep_for(std::chrono::seconds(20));
          _exit(0);
        },
        "a child");
  });
  CHECK(WEXITSTATUS(ended.status) == 128 + SIGTERM);
  std::ifstream in(folder / "child");
  pid_t child = 0;
  bool plain = false;
  in >> child >> plain;
  CHECK(plain);
  // A zombie until whoever inherits it has asked for it.
  for (int tries = 0; tries < 1000 && kill(child, 0) == 0; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::ifstream state("/proc/" + std::to_string(child) + "/stat");
  std::string text((std::istreambuf_iterator<char>(state)), {});
  CHECK((text.empty() || text.find(") Z") != std::string::npos));
}

TEST_CASE("[child] the status of a child, and one that cannot be started") {
  const int status = status_of_child(
      [](pid_t& child) {
        child = fork();
        if (child == 0) _exit(7);
      },
      "a child");
  CHECK(WEXITSTATUS(status) == 7);
  CHECK_THROWS_AS(status_of_child([](pid_t&) { throw DataError("no process"); }, "a child"), DataError);
}
