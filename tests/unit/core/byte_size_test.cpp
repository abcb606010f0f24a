// SPDX-License-Identifier: MIT
#include "kvviz/core/byte_size.hpp"

#include <doctest/doctest.h>

using namespace kvviz;

TEST_CASE("[byte_size] decimal and binary units, with and without B, any case") {
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("512B") == 512);
  CHECK(parse_size("8G") == 8000000000);
  CHECK(parse_size("8GB") == 8000000000);
  CHECK(parse_size("8 gb") == 8000000000);
  CHECK(parse_size("8Gi") == 8589934592);
  CHECK(parse_size("24GiB") == 25769803776);
  CHECK(parse_size("1.5k") == 1500);
  CHECK(parse_size("0.5KiB") == 512);
  CHECK(parse_size("3TiB") == 3298534883328);
  CHECK(parse_size("2PB") == 2000000000000000);
}

TEST_CASE("[byte_size] what is no size is refused") {
  for (const char* text : {"", "G", "8Q", "8iB", "eight", "-1G", "0", "0.2", "nan", "inf", "8GG", "8GiBB",
                           "1e30", "8G/s", "4 611 686 018", "9000P"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text).has_value());
  }
}

TEST_CASE("[byte_size] for readers") {
  CHECK(size_text(0) == "0 B");
  CHECK(size_text(999) == "999 B");
  CHECK(size_text(36864) == "36 KiB");
  CHECK(size_text(36900) == "36.9 kB");
  CHECK(size_text(85899345920) == "80 GiB");
  CHECK(size_text(2e12) == "2 TB");
  CHECK(size_text(17179869185) == "17.2 GB");
  CHECK(size_text(999999) == "1 MB");
}
