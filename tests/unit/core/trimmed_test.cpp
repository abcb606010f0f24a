// SPDX-License-Identifier: MIT
#include "kvviz/core/trimmed.hpp"

#include <doctest/doctest.h>

TEST_CASE("[trimmed] white space leaves both ends, not the middle") {
  CHECK(kvviz::trimmed(" \t a  b\r\n") == "a  b");
  CHECK(kvviz::trimmed("a") == "a");
  CHECK(kvviz::trimmed(" \r\n\t").empty());
  CHECK(kvviz::trimmed("").empty());
}
