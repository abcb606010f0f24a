// SPDX-License-Identifier: MIT
#include "kvviz/core/file_identity.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/mapped_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::holds;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

void set_time(const fs::path& file, time_t seconds, long nanoseconds) {
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                             {.tv_sec = seconds, .tv_nsec = nanoseconds}};
  REQUIRE(utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("[file identity] size and time of the last change, of regular files only") {
  const TemporaryFolder folder;
  write_file(folder / "a", "four");
  set_time(folder / "a", 1000, 5);
  CHECK(identity_of(folder / "a") == FileIdentity{.size = 4, .modified = 1'000'000'000'005});
  CHECK_FALSE(identity_of(folder / "none").has_value());
  CHECK_FALSE(identity_of(folder.path()).has_value());
  CHECK_FALSE(identity_of("/dev/null").has_value());
}

TEST_CASE("[file identity] a remembered file that grows, is written to, or goes, is named") {
  const TemporaryFolder folder;
  const fs::path file = folder / "text";
  forget_inputs();
  const auto remembered = [&] {
    write_file(file, "text");
    set_time(file, 1000, 0);
    REQUIRE(changed_input().empty());
  };
  write_file(file, "text");
  set_time(file, 1000, 0);
  CHECK(read_input(file) == "text");
  remembered();
  set_time(file, 1000, 1);
  CHECK(holds(changed_input(), file.string() + " changed while it was read: it was written to"));
  remembered();
  write_file(file, "longer text");
  CHECK(holds(changed_input(), "it had 4 bytes and has 11"));
  CHECK_THROWS_AS(require_unchanged_inputs(), DataError);
  CHECK(read_input(file) == "longer text");  // what was read first counts
  CHECK(holds(changed_input(), "it had 4 bytes and has 11"));
  remembered();
  fs::remove(file);
  CHECK(holds(changed_input(), "is gone"));
  remembered();
  require_unchanged_inputs();
}

TEST_CASE("[file identity] what is mapped is remembered") {
  const TemporaryFolder folder;
  forget_inputs();
  write_file(folder / "weights", "1234");
  set_time(folder / "weights", 1000, 0);
  const MappedFile mapped(folder / "weights");
  CHECK(changed_input().empty());
  set_time(folder / "weights", 2000, 0);
  CHECK(holds(changed_input(), "weights"));
  set_time(folder / "weights", 1000, 0);
}
