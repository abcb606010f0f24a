// SPDX-License-Identifier: MIT
#include "kvviz/core/sha256.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;

TEST_CASE("[sha256] the test vectors of FIPS 180-4") {
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("[sha256] files are hashed as one stream") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "1", "a");
  write_file(folder.path() / "2", "bc");
  CHECK(sha256_files({folder.path() / "1", folder.path() / "2"}) == sha256("abc"));
  CHECK_THROWS_AS(sha256_files({folder.path() / "3"}), DataError);
}
