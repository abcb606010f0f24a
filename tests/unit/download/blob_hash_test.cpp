// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/download/blob_hash.hpp"

using namespace kvviz::hub;

namespace {

std::string hash(const std::string& bytes, size_t digits) {
  BlobHash hash(std::string(digits, '0'), static_cast<int64_t>(bytes.size()));
  for (const char c : bytes) hash.add({&c, 1});
  return hash.finish();
}

}  // namespace

TEST_CASE("[download] hashes are git's and SHA-256") {
  // git hash-object of an empty file, and of "hello\n".
  CHECK(hash("", 40) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  CHECK(hash("hello\n", 40) == "ce013625030ba8dba906f756967f9e9ca394464a");
  // FIPS 180-2, appendix B.1.
  CHECK(hash("abc", 64) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(is_blob_hash(std::string(40, 'a')));
  CHECK(is_blob_hash(std::string(64, '0')));
  for (const std::string bad : {"", "abc", "../../etc/passwd"}) CHECK_FALSE(is_blob_hash(bad));
  CHECK_FALSE(is_blob_hash(std::string(40, 'A')));
  CHECK_FALSE(is_blob_hash(std::string(39, 'a') + "/"));
}
