// SPDX-License-Identifier: MIT
#include "kvviz/serve/access.hpp"

#include <doctest/doctest.h>

using namespace kvviz::serve;

TEST_CASE("[access] addresses that other machines can reach") {
  for (const char* host : {"127.0.0.1", "127.3.2.1", "localhost", "LocalHost", "::1", "[::1]"})
    CHECK_FALSE(reachable_from_elsewhere(host));
  for (const char* host :
       {"0.0.0.0", "::", "192.168.1.5", "127.0.0.1.evil.org", "127.evil", "example.org", ""})
    CHECK(reachable_from_elsewhere(host));
}

TEST_CASE("[access] Host: a name that was made to point here is not ours") {
  const Access local{.host = "127.0.0.1", .names = {"gpu7.cluster"}, .token = ""};
  for (const char* host :
       {"127.0.0.1:8765", "localhost:9000", "LOCALHOST", "[::1]:8765", "gpu7.cluster:80", "GPU7.cluster"})
    CHECK(host_is_ours(local, host));
  for (const char* host :
       {"evil.org:8765", "127.0.0.1.evil.org", "192.168.1.5:8765", "", "localhost.evil.org",
        "evil.org:127.0.0.1", "[::1].evil.org.", "[evil", "10.0.0.1"})
    CHECK_FALSE(host_is_ours(local, host));
  const Access everywhere{.host = "0.0.0.0", .names = {}, .token = "t"};
  CHECK(host_is_ours(everywhere, "192.168.1.5:8765"));
  CHECK(host_is_ours(everywhere, "[fe80::1]:8765"));
  CHECK_FALSE(host_is_ours(everywhere, "evil.org"));
  const Access one{.host = "192.168.1.5", .names = {}, .token = "t"};
  CHECK(host_is_ours(one, "192.168.1.5"));
  CHECK_FALSE(host_is_ours(one, "192.168.1.6"));
}

TEST_CASE("[access] Origin and Sec-Fetch-Site") {
  const auto from = [](const char* origin, const char* site) {
    return same_origin({.host = "localhost:8765", .origin = origin, .fetch_site = site, .authorization = ""});
  };
  CHECK(from("", ""));  // curl
  CHECK(from("http://localhost:8765", "same-origin"));
  CHECK(from("http://LOCALHOST:8765", ""));
  CHECK(from("", "none"));  // typed into the address bar
  CHECK_FALSE(from("http://localhost:3000", ""));
  CHECK_FALSE(from("http://localhost:8765.evil.org", ""));
  CHECK_FALSE(from("null", ""));
  CHECK_FALSE(from("", "cross-site"));
  CHECK_FALSE(from("", "same-site"));
  CHECK_FALSE(from("http://localhost:8765", "cross-site"));
}

TEST_CASE("[access] tokens") {
  const Access access{.host = "0.0.0.0", .names = {}, .token = "0123456789abcdef"};
  const auto with = [&](const char* header) {
    return has_token(access, {.host = "", .origin = "", .fetch_site = "", .authorization = header});
  };
  CHECK(with("Bearer 0123456789abcdef"));
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef ",
                            "bearer 0123456789abcdef", "0123456789abcdef", "Basic 0123456789abcdef"})
    CHECK_FALSE(with(wrong));
  CHECK(has_token({.host = "", .names = {}, .token = ""}, {}));
}

TEST_CASE("[access] the rate of an address") {
  RateLimit limit(10, 3);
  const RateLimit::Clock::time_point start{};
  for (int i = 0; i < 3; ++i) CHECK(limit.allows("a", start));
  CHECK_FALSE(limit.allows("a", start));
  CHECK(limit.allows("b", start));
  CHECK_FALSE(limit.allows("a", start + std::chrono::milliseconds(90)));
  CHECK(limit.allows("a", start + std::chrono::milliseconds(110)));
  CHECK_FALSE(limit.allows("a", start + std::chrono::milliseconds(120)));
  for (int i = 0; i < 3; ++i) CHECK(limit.allows("a", start + std::chrono::seconds(100)));
  CHECK_FALSE(limit.allows("a", start + std::chrono::seconds(100)));
}
