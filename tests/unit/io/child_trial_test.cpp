// SPDX-License-Identifier: MIT
#include "kvviz/io/child_trial.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <stdexcept>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/hdf5.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::io {
namespace {
using test::message_of;
using test::TemporaryFolder;

constexpr const char* failure = "some.h5: the HDF5 library fails on it";

std::string refusal(const std::function<void()>& work) {
  return message_of<DataError>([&] { try_in_child("some.h5", work); });
}

TEST_CASE("[child_trial] what ends or stops the child is an error that names the file") {
  CHECK(test::holds(refusal([] { std::raise(SIGKILL); }), failure));
  CHECK(test::holds(refusal([] { std::abort(); }), failure));
  CHECK(test::holds(refusal([] {
                      for (volatile bool on = true; on;) {
                      }
                    }),
                    failure));
}

TEST_CASE("[child_trial] exceptions and changes stay in the child") {
  int changed = 0;
  CHECK(refusal([&] {
          changed = 1;
          throw std::runtime_error("the caller will see it");
        }).empty());
  CHECK(changed == 0);
}

TEST_CASE("[hdf5] files with checksums are known by their first bytes") {
  const TemporaryFolder folder;
  const auto file = folder / "ours.h5";
  Hdf5File::create(file).close();
  CHECK(has_checksums(file));
  const std::string bytes = read_file(file);
  write_file(folder / "later.h5", std::string(1024, ' ') + bytes);
  CHECK(has_checksums(folder / "later.h5"));
  std::string old = bytes;
  old[8] = 0;
  write_file(folder / "old.h5", old);
  CHECK_FALSE(has_checksums(folder / "old.h5"));
  write_file(folder / "text.h5", "text");
  CHECK_FALSE(has_checksums(folder / "text.h5"));
  CHECK_FALSE(has_checksums(folder / "absent.h5"));
}

}  // namespace
}  // namespace kvviz::io
