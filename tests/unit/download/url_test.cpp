// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/download/api.hpp"
#include "kvviz/download/url.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::hub;

TEST_CASE("[download] addresses are taken apart and put together again") {
  const Url url = parse_url("HTTPS://Hub.Example:8443/a/b?x=%2F+1#part");
  CHECK(url.scheme == "https");
  CHECK(url.host == "hub.example");
  CHECK(url.port == 8443);
  CHECK(url.target == "/a/b?x=%2F+1");
  CHECK(url.text() == "https://hub.example:8443/a/b?x=%2F+1");
  CHECK(parse_url("https://h").text() == "https://h/");
  CHECK(parse_url("http://h:80?q").text() == "http://h/?q");
  CHECK(parse_url("http://[::1]:81/x").text() == "http://[::1]:81/x");
  CHECK(parse_url("http://h/\xc3\xa4").target == "/%C3%A4");
}

TEST_CASE("[download] what is no plain http address is refused") {
  for (const std::string bad :
       {"", "h", "/x", "ftp://h/", "file:///etc/passwd", "http://", "http:///x", "http://u:p@h/",
        "http://h:0/", "http://h:70000/", "http://h:x/", "http://h/a b", "http://h/a\r\nX: y",
        "http://h/\x01", "http://a b/", "http://[::1", "http://h\\x/", "javascript://h"}) {
    CAPTURE(bad);
    CHECK(test::holds(test::message_of<DataError>([&] { parse_url(bad); }), "expected http"));
  }
}

TEST_CASE("[download] redirects are read as RFC 3986 has them") {
  const Url base = parse_url("https://h:8/a/b/c?q=1");
  CHECK(resolve(base, "http://x/y").text() == "http://x/y");
  CHECK(resolve(base, "//x/y").text() == "https://x/y");
  CHECK(resolve(base, "/y?z=://").text() == "https://h:8/y?z=://");
  CHECK(resolve(base, "y").text() == "https://h:8/a/b/y");
  CHECK(resolve(base, "?z").text() == "https://h:8/a/b/c?z");
  // A signed query stays as it is, byte for byte.
  const std::string query = "/s?d=inline%3B+filename*%3DUTF-8%27%27a%20b&Signature=a%2Bb~c%26d__";
  CHECK(resolve(base, query).target == query);
}

TEST_CASE("[download] percent-encoding, and text of a server for people") {
  CHECK(percent_encoded("a b/c+d&\xc3\xa4", "/") == "a%20b/c%2Bd%26%C3%A4");
  CHECK(percent_encoded("refs/pr/1") == "refs%2Fpr%2F1");
  CHECK(file_target("o/n", "c0", "d/x y#1?.bin") == "/o/n/resolve/c0/d/x%20y%231%3F.bin");
  CHECK(printable("a\x1b[31mb\nc\x7f") == "a?[31mb?c?");
  CHECK(printable("\xc2\x9b"
                  "31m \xc3\xa4") == "?31m \xc3\xa4");
  CHECK(printable("abcdef", 3) == "abc...");
  CHECK(printable("a\xc3\xa4x", 2) == "a...");
}

TEST_CASE("[download] names of files that are no plain relative path are refused") {
  for (const std::string good :
       {"config.json", "a/b/c.gguf", "con", "x..y", "-", ".gitattributes", "\xc3\xa4.bin"}) {
    CAPTURE(good);
    CHECK_NOTHROW(check_file_name(good));
  }
  for (const std::string bad : {"", "/etc/x", "../x", "a/../x", "a/..", "..", ".", "a//b", "a/./b", "a/",
                                "a\\b", "c:x", "a\nb", "a\x7f"}) {
    CAPTURE(bad);
    CHECK(test::holds(test::message_of<DataError>([&] { check_file_name(bad); }), "no plain relative path"));
  }
  CHECK_THROWS_AS(check_file_name(std::string("a\0b", 3)), DataError);
  CHECK_THROWS_AS(check_file_name(std::string(201, 'a')), DataError);
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "a/";
  CHECK_THROWS_AS(check_file_name(deep + "b"), DataError);
}
