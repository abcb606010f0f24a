// SPDX-License-Identifier: MIT
#include "kvviz/report/nearest.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace kvviz {
namespace {

TEST_CASE("[nearest] the distance counts bytes inserted, removed and replaced") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("mehtod", "method") == 2);
}

TEST_CASE("[nearest] what is meant is the nearest name, none when all are far") {
  const std::vector<std::string> names = {"--model", "--method", "--out", "--metric"};
  CHECK(likely_meant("--mehtod", names) == "--method");
  CHECK(likely_meant("--ouput", names) == "--out");
  CHECK(likely_meant("--out", names) == "--out");
  CHECK(likely_meant("--temperature", names).empty());
  CHECK(likely_meant("xy", names).empty());
  CHECK(likely_meant("--METHOD", names) == "--method");
  CHECK(likely_meant("--me", names) == "--method");
  CHECK(likely_meant("--method", {}).empty());
}

}  // namespace
}  // namespace kvviz
