// SPDX-License-Identifier: MIT
#include "kvviz/serve/request.hpp"

#include <doctest/doctest.h>

#include "kvviz/serve/http_error.hpp"

using namespace kvviz::serve;
using nlohmann::json;

namespace {

/// What is said of the only field of a body.
template <class Read>
std::string refused(const json& value, Read read) {
  const Request request{.parts = {}, .fields = {{"x", value}}};
  Fields fields(request);
  try {
    read(fields);
  } catch (const HttpError& error) {
    CHECK(error.status == 400);
    return error.what();
  }
  return "taken";
}

const auto integer = [](Fields& f) { f.integer("x", 1, 10, 5); };
const auto number = [](Fields& f) { f.number("x", 0, 1, 0.5); };
const auto text = [](Fields& f) { f.text("x", 5); };
const auto texts = [](Fields& f) { f.texts("x", 2, {}); };

}  // namespace

TEST_CASE("[request] fields of a body") {
  const Request request{
      .parts = {},
      .fields = {{"n", 3}, {"r", 0.25}, {"t", "abc"}, {"b", true}, {"l", {"a", "b"}}, {"gone", nullptr}}};
  Fields f(request);
  CHECK(f.integer("n", 0, 10, 7) == 3);
  CHECK(f.integer("gone", 0, 10, 7) == 7);
  CHECK(f.integer("absent", 0, 10, 7) == 7);
  CHECK(f.number("r", 0, 1, 0) == 0.25);
  CHECK(f.number("n", 0, 5, 0) == 3);
  CHECK(f.text("t", 3) == "abc");
  CHECK(f.text("absent", 3, "none") == "none");
  CHECK(f.yes("b", false));
  CHECK(f.word("t", {"abc", "d"}, "d") == "abc");
  CHECK(f.texts("l", 2, {}) == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(f.has("gone"));
  f.done();
}

TEST_CASE("[request] what is wrong with a field is said") {
  CHECK(refused(0, integer) == "x is 0; expected a whole number from 1 to 10");
  CHECK(refused(11, integer) == "x is 11; expected a whole number from 1 to 10");
  CHECK(refused(2.5, integer) == "x is 2.5; expected a whole number from 1 to 10");
  CHECK(refused("3", integer) == "x is \"3\"; expected a whole number from 1 to 10");
  CHECK(refused(18446744073709551615U, integer).starts_with("x is 18446744073709551615;"));
  CHECK(refused(json::array(), integer).starts_with("x is a list;"));
  CHECK(refused(true, integer).starts_with("x is true;"));
  CHECK(refused(1.01, number) == "x is 1.01; expected a number from 0 to 1");
  CHECK(refused(-1e-9, number).starts_with("x is -1e-09;"));
  CHECK(refused("abcdef", text) == "x has 6 bytes; at most 5 are taken");
  CHECK(refused(7, text) == "x is 7; expected a text");
  CHECK(refused(nullptr, text) == "x is missing; expected a text");
  CHECK(refused(json::array({"a", "b", "c"}), texts).starts_with("x is a list; expected a list of 1 to 2"));
  CHECK(refused(json::array({"a", 2}), texts).starts_with("x is a list"));
  CHECK(refused(json::array(), texts).starts_with("x is a list"));
  CHECK(refused("yes", [](Fields& f) { f.yes("x", true); }) == "x is \"yes\"; expected true or false");
  CHECK(refused("c", [](Fields& f) { f.word("x", {"a", "b"}, "a"); }) == "x is \"c\"; expected one of a, b");
  CHECK(refused(1, [](Fields& f) { f.done(); }) == "\"x\" is no field of this request; expected none");
  const std::string shown = refused(std::string(1000, 'x'), integer);
  CHECK(shown.size() < 130);
  CHECK(refused(std::string(40, 'a') + std::string(200, '\xc3') + '\xa4', text).size() < 200);
}

TEST_CASE("[request] numbers and truth in a query are texts") {
  const Request request{.parts = {},
                        .fields = {{"n", "3"}, {"b", "false"}, {"r", "0.5"}, {"bad", "3x"}, {"e", ""}},
                        .from_query = true};
  Fields f(request);
  CHECK(f.integer("n", 0, 10, 0) == 3);
  CHECK_FALSE(f.yes("b", true));
  CHECK(f.number("r", 0, 1, 0) == 0.5);
  CHECK_THROWS_AS(f.integer("bad", 0, 10, 0), HttpError);
  CHECK_THROWS_AS(f.integer("e", 0, 10, 0), HttpError);
  CHECK_THROWS_AS(f.number("bad", 0, 10, 0), HttpError);
  CHECK_THROWS_AS(f.yes("bad", true), HttpError);
  f.done();
}
