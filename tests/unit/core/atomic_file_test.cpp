// SPDX-License-Identifier: MIT
#include "kvviz/core/atomic_file.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "kvviz/core/error.hpp"
#include "kvviz/core/mapped_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

TEST_CASE("[atomic_file] a file appears whole, in folders that are made for it") {
  const test::TemporaryFolder folder;
  const auto target = folder.path() / "a/b/c.txt";
  write_file(target, "new");
  CHECK(read_file(target) == "new");
  CHECK(std::distance(fs::directory_iterator(target.parent_path()), {}) == 1);
}

TEST_CASE("[atomic_file] without a commit the old file stays and nothing is left") {
  const test::TemporaryFolder folder;
  const auto target = folder.path() / "c.txt";
  write_file(target, "old");
  {
    const AtomicFile file(target);
    std::ofstream(file.temporary()) << "half";
  }
  CHECK(read_file(target) == "old");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("[atomic_file] what cannot be written or read is named") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "file", "x");
  CHECK_THROWS_WITH_AS(write_file(folder.path() / "file/below", "x"), doctest::Contains("file"), DataError);
  CHECK_THROWS_WITH_AS(read_file(folder.path() / "none"), doctest::Contains("none"), DataError);
  CHECK_THROWS_WITH_AS(read_file(folder.path()), doctest::Contains("is a folder"), DataError);
}

TEST_CASE("[atomic_file] what cannot be read is not taken for the end of the file") {
  CHECK(test::holds(test::message_of<DataError>([] { read_file("/proc/self/mem"); }),
                    "cannot read /proc/self/mem: Input/output error"));
}

TEST_CASE("[mapped_file] bytes of a file, an empty file, and what is no file") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "five", "12345");
  write_file(folder.path() / "none", "");
  const MappedFile five(folder.path() / "five");
  REQUIRE(five.bytes().size() == 5);
  CHECK(five.bytes()[4] == std::byte{'5'});
  five.release(five.bytes());
  CHECK(five.bytes()[0] == std::byte{'1'});
  CHECK(MappedFile(folder.path() / "none").bytes().empty());
  CHECK_THROWS_WITH_AS(MappedFile(folder.path()), doctest::Contains("not a regular file"), DataError);
  CHECK_THROWS_WITH_AS(MappedFile(folder.path() / "missing"), doctest::Contains("cannot read"), DataError);
}

TEST_CASE("[atomic_file] a folder that cannot be written is found before anything is made") {
  const test::TemporaryFolder folder;
  require_writable(folder.path() / "a/b/c");
  CHECK_FALSE(std::filesystem::exists(folder.path() / "a"));
  write_file(folder.path() / "file", "x");
  CHECK_THROWS_AS(require_writable(folder.path() / "file"), DataError);
  CHECK_THROWS_AS(require_writable(folder.path() / "file/below"), DataError);
}

TEST_CASE("[atomic_file] why a file takes no more") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "picture", "half");
  CHECK(reason_against_writing(folder.path() / "picture").empty());
  CHECK(reason_against_writing("/dev/full") == "No space left on device");
  CHECK_THROWS_WITH_AS(write_file("/dev/full/below", "x"), doctest::Contains("/dev/full"), DataError);
}
