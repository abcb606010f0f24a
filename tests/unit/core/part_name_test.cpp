// SPDX-License-Identifier: MIT
#include "kvviz/core/part_name.hpp"

#include <doctest/doctest.h>

using namespace kvviz;

TEST_CASE("[part_name] the parts of a model have each other's names") {
  const auto number = part_number("a/b-Q8_0-00002-of-00012.gguf");
  REQUIRE(number);
  CHECK(number->part == 2);
  CHECK(number->parts == 12);
  const auto names = all_parts("a/b-00001-of-00002-00002-of-00012.gguf");
  REQUIRE(names.size() == 12);
  CHECK(names.front() == "a/b-00001-of-00002-00001-of-00012.gguf");
  CHECK(names.back() == "a/b-00001-of-00002-00012-of-00012.gguf");
  CHECK(first_part("B-00003-of-00003.GGUF") == "B-00001-of-00003.GGUF");
}

TEST_CASE("[part_name] other names stand for themselves") {
  for (const char* name : {"", "a.gguf", "a-00001-of-00002.gguf.txt", "a-1-of-2.gguf",
                           "a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-00001-of-00002.safetensors",
                           "00001-of-00002.gguf", "a-000001-of-000002.gguf"}) {
    CAPTURE(name);
    CHECK_FALSE(part_number(name));
    CHECK(all_parts(name) == std::vector<std::string>{name});
    CHECK(first_part(name) == name);
  }
}
