// SPDX-License-Identifier: MIT
#include "kvviz/serve/reply.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>

#include "kvviz/serve/http_error.hpp"

using namespace kvviz;
using namespace kvviz::serve;

namespace {

std::string encoded(const std::string& text) {
  return base64(std::as_bytes(std::span(text)));
}

Refusal refusal(const auto& error) {
  return refusal_of(std::make_exception_ptr(error));
}

}  // namespace

// RFC 4648, section 10.
TEST_CASE("[reply] base64") {
  CHECK(encoded("").empty());
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foob") == "Zm9vYg==");
  CHECK(encoded("fooba") == "Zm9vYmE=");
  CHECK(encoded("foobar") == "Zm9vYmFy");
}

TEST_CASE("[reply] a message of matrices is laid out as the page of the interface says") {
  const std::vector<float> a{1, 2.5F, -3};
  const std::vector<int32_t> b{7};
  const std::vector<uint8_t> c{1, 2, 3, 4, 5};
  for (const std::string note : {"", "x", "xxxxxx"}) {
    const Bytes message = matrices(
        {{"note", note}}, {{"a", {1, 3}, std::span(a)}, {"b", {1}, std::span(b)}, {"c", {5}, std::span(c)}});
    CHECK(message.type == "application/vnd.kvviz.matrices");
    const std::string& body = message.body;
    CHECK(body.substr(0, 4) == "KVM1");
    uint32_t length = 0;
    std::memcpy(&length, body.data() + 4, 4);
    const size_t begin = 8 + length;
    CHECK(begin % 8 == 0);
    const auto header = nlohmann::json::parse(body.substr(8, length));
    CHECK(header.at("note") == note);
    CHECK(header.at("arrays").at(0) ==
          nlohmann::json{{"name", "a"}, {"dtype", "float32"}, {"shape", {1, 3}}});
    CHECK(header.at("arrays").at(1).at("dtype") == "int32");
    CHECK(header.at("arrays").at(2).at("dtype") == "uint8");
    REQUIRE(body.size() == begin + 16 + 8 + 8);
    CHECK(std::memcmp(body.data() + begin, a.data(), 12) == 0);
    CHECK(std::memcmp(body.data() + begin + 16, b.data(), 4) == 0);
    CHECK(std::memcmp(body.data() + begin + 24, c.data(), 5) == 0);
    CHECK(body.substr(begin + 29) == std::string(3, '\0'));
  }
  CHECK_THROWS_AS(matrices({}, {{"a", {2, 2}, std::span(a)}}), std::logic_error);
}

TEST_CASE("[reply] what is no number in JSON is null") {
  CHECK(number_or_null(0.5).dump() == "0.5");
  for (const double none :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK(number_or_null(none).is_null());
}

TEST_CASE("[reply] what an exception means to a client") {
  CHECK(refusal(not_found("no ", 1)).status == 404);
  CHECK(refusal(not_found("no ", 1)).body.dump() == R"({"error":{"code":"not_found","message":"no 1"}})");
  CHECK(refusal(UsageError("a")).status == 400);
  CHECK(refusal(UsageError("a")).body["error"]["message"] == "a");
  CHECK(refusal(DataError("b")).status == 422);
  CHECK(refusal(DataError("b")).body["error"]["code"] == "unusable");
  CHECK(refusal(std::runtime_error("secret")).status == 500);
  CHECK(refusal(std::runtime_error("secret")).body.dump().find("secret") == std::string::npos);
  CHECK(refusal(7).status == 500);
}
