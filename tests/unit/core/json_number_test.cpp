// SPDX-License-Identifier: MIT
#include "kvviz/core/json_number.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

TEST_CASE("[json_number] whole numbers of 64 signed bits, and nothing else") {
  const auto of = [](const char* text) { return kvviz::whole_number(nlohmann::json::parse(text)); };
  CHECK(of("0") == 0);
  CHECK(of("-9223372036854775808") == INT64_MIN);
  CHECK(of("9223372036854775807") == INT64_MAX);
  for (const char* other : {"9223372036854775808", "18446744073709551615", "-9223372036854775809", "1e40",
                            "2.0", "1e2", "true", "null", "\"2\"", "[2]", "{}"}) {
    CAPTURE(other);
    CHECK_FALSE(of(other));
  }
}
