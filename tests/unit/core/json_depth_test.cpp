// SPDX-License-Identifier: MIT
#include "kvviz/core/json_depth.hpp"

#include <doctest/doctest.h>

#include <string>

TEST_CASE("[json_depth] brackets in brackets are counted, those in strings are not") {
  using kvviz::json_depth;
  CHECK(json_depth("") == 0);
  CHECK(json_depth("12") == 0);
  CHECK(json_depth(R"([1, {"a": []}, [[2]]])") == 3);
  CHECK(json_depth(R"({"[[[[": "{{\"[[", "b": [1]})") == 2);
  CHECK(json_depth(R"(["\\", [1]])") == 2);
  CHECK(json_depth("]]][[") == 0);
  CHECK(json_depth(std::string(100000, '[')) == 100000);
}
