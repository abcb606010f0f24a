// SPDX-License-Identifier: MIT
#include "kvviz/compress/codec.hpp"

#include <doctest/doctest.h>

#include <set>

#include "kvviz/compress/table.hpp"
#include "support/errors.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using compress::methods;
using compress::parse_method;
using compress::Side;
using compress::whole_arguments;
using namespace kvviz::test;

TEST_CASE("[codec] names are unique and every row says what it is") {
  std::set<std::string_view> names;
  for (const compress::MethodInfo& info : methods()) {
    CAPTURE(info.name);
    CHECK(names.insert(info.name).second);
    CHECK_FALSE(info.summary.empty());
    CHECK_FALSE(info.sweep.empty());
    CHECK(info.name.find(':') == info.name.npos);
  }
  for (const char* name : {"f32", "f16", "bf16", "fp8", "kivi", "rtn_tensor", "rtn_token", "rtn_channel",
                           "q8_0", "q4_0", "hadamard"})
    CHECK(names.contains(name));
}

TEST_CASE("[codec] every quantiser's sweep goes from many bytes to few") {
  const at::Tensor x = cache_like({2, 512, 64}, 20);
  for (const compress::MethodInfo& info : compress::quantised_methods()) {
    double last = 8.0 * static_cast<double>(x.numel());
    for (const std::string_view arguments : info.sweep) {
      const std::string method =
          std::string(info.name) + (arguments.empty() ? "" : ":") + std::string(arguments);
      CAPTURE(method);
      const double bytes =
          code(method, x, Side::key).bytes.total() + code(method, x, Side::value).bytes.total();
      CHECK(bytes < last);
      last = bytes;
    }
  }
}

TEST_CASE("[codec] a method keeps its text and finds its row") {
  const compress::Method method = parse_method("kivi:4:64:128");
  CHECK(method.text == "kivi:4:64:128");
  CHECK(method.info->name == "kivi");
  CHECK(method.codec != nullptr);
}

TEST_CASE("[codec] whole arguments") {
  CHECK(whole_arguments("m", "", 2).empty());
  CHECK(whole_arguments("m", "4:0:128", 3) == std::vector<int64_t>{4, 0, 128});
}

TEST_CASE("[codec] refused, with what was got and what is expected") {
  struct Case {
    const char* text;
    const char* part;
  };
  const std::vector<Case> cases{{"", "'' is no method; there are f32, f16"},
                                {"kiwi:4", "'kiwi:4' is no method"},
                                {"kivi", "got no bits, expected kivi:BITS"},
                                {"kivi:", "ends in ':'"},
                                {"kivi:5", "got 5 bits, expected 2, 3, 4 or 8"},
                                {"kivi:0", "expected 2, 3, 4 or 8"},
                                {"kivi:16", "expected 2, 3, 4 or 8"},
                                {"kivi:-4", "got '-4'"},
                                {"kivi:4.5", "got '4.5'"},
                                {"kivi:4::1", "got ''"},
                                {"kivi:4:99999999999999999999", "whole number"},
                                {"kivi:4:1", "a group of 1"},
                                {"kivi:4:0", "a group of 0"},
                                {"kivi:4:32:100", "expected a multiple of 32"},
                                {"kivi:4:32:128:1", "got 4 arguments"},
                                {"rtn_tensor:4:32", "got 2 arguments"},
                                {"rtn_tensor", "got no bits"},
                                {"rtn_token:6", "2, 3, 4 or 8"},
                                {"rtn_token:4:1", "a group of 1"},
                                {"rtn_channel:4:1", "a group of 1"},
                                {"rtn_channel:x", "got 'x'"},
                                {"f16:2", "take no argument"},
                                {"q8_0:2", "take no argument"},
                                {"hadamard:kivi:5", "got 5 bits"}};
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const std::string message = message_of<UsageError>([&] { parse_method(one.text); });
    CAPTURE(message);
    CHECK(holds(message, one.part));
  }
}
