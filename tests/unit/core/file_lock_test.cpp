// SPDX-License-Identifier: MIT
#include "kvviz/core/file_lock.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "kvviz/core/error.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::TemporaryFolder;
namespace fs = std::filesystem;

TEST_CASE("[file lock] one holder at a time, of a file and of a folder") {
  const TemporaryFolder folder;
  for (const fs::path& path : {folder / "locks/a.lock", folder.path()}) {
    CAPTURE(path);
    std::optional<FileLock> first = FileLock::if_free(path);
    REQUIRE(first.has_value());
    CHECK_FALSE(FileLock::if_free(path).has_value());
    FileLock moved(std::move(*first));
    first.reset();
    CHECK_FALSE(FileLock::if_free(path).has_value());
  }
  CHECK(FileLock::if_free(folder / "locks/a.lock").has_value());
  CHECK(FileLock::if_free(folder.path()).has_value());
}

TEST_CASE("[file lock] who waits gets it when it is free, and may give up") {
  const TemporaryFolder folder;
  auto held = FileLock::if_free(folder.path());
  int asked = 0;
  const auto impatient = [&] {
    if (++asked == 3) throw DataError("no longer");
  };
  CHECK_THROWS_WITH_AS(FileLock(folder.path(), impatient), "no longer", DataError);
  std::atomic<bool> waited = false;
  std::thread other([&] { const FileLock lock(folder.path(), [&] { waited = true; }); });
  while (!waited) std::this_thread::yield();
  held.reset();
  other.join();
  CHECK(FileLock::if_free(folder.path()).has_value());
}

TEST_CASE("[file lock] a file that is renamed while somebody waits for it: the one in its place is locked") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a";
  auto held = FileLock::if_free(path);
  const FileLock lock(path, [&] {
    fs::rename(path, folder / "b");
    held.reset();
  });
  CHECK_FALSE(FileLock::if_free(path).has_value());
  CHECK(FileLock::if_free(folder / "b").has_value());
}

TEST_CASE("[file lock] it ends with the process that holds it, however that ends") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    const FileLock lock(folder / "a", [] {});
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(FileLock::if_free(folder / "a").has_value());
  CHECK_FALSE(any_locked(folder.path()));
  const FileLock lock(folder / "a", [] {});
  CHECK(any_locked(folder.path()));
}
