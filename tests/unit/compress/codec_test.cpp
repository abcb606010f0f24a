// SPDX-License-Identifier: MIT
#include "kvviz/compress/codec.hpp"

#include <doctest/doctest.h>

#include <set>

#include "kvviz/compress/table.hpp"
#include "kvviz/kernels/thread_pool.hpp"
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
                           "q8_0", "q4_0", "hadamard", "svd", "tucker", "groups", "xkv", "minicache"})
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

TEST_CASE("[codec] token-local are exactly those that code a token alone as among others, bit for bit") {
  const std::set<std::string_view> local{"f32", "f16", "bf16", "rtn_token", "q8_0", "q4_0", "hadamard"};
  const at::Tensor x = cache_like({3, 70, 64}, 21);
  for (const compress::MethodInfo& info : methods()) {
    for (const std::string_view arguments : info.sweep) {
      const std::string text =
          std::string(info.name) + (arguments.empty() ? "" : ":") + std::string(arguments);
      CAPTURE(text);
      const auto codec = parse_method(text).codec;
      CHECK(codec->token_local() == local.contains(info.name));
      if (!codec->token_local()) continue;
      for (const Side side : {Side::key, Side::value}) {
        const at::Tensor all = codec->code(x, side).restored;
        for (const int64_t t : {0, 1, 33, 69})
          CHECK(at::equal(codec->code(x.slice(1, t, t + 1).contiguous(), side).restored,
                          all.slice(1, t, t + 1)));
      }
    }
  }
  CHECK(parse_method("hadamard:hadamard:f16").codec->token_local());
  for (const char* text : {"hadamard:fp8", "hadamard:kivi:4", "hadamard:rtn_channel:4", "hadamard:xkv:0.5"})
    CHECK_FALSE(parse_method(text).codec->token_local());
}

TEST_CASE(
    "[codec] layers that share nothing are coded as each by itself, in order, for any number of threads") {
  std::vector<at::Tensor> layers;
  for (unsigned l = 0; l < 5; ++l) layers.push_back(cache_like({2, 40 + l, 16}, 30 + l));
  for (const compress::MethodInfo& info : methods()) {
    if (info.name == "xkv" || info.name == "minicache") continue;
    const auto method =
        std::string(info.name) + (info.sweep[0].empty() ? "" : ":") + std::string(info.sweep[0]);
    CAPTURE(method);
    const auto codec = parse_method(method).codec;
    for (const int threads : {1, 3, 16}) {
      kernels::set_thread_count(threads);
      const auto coded = codec->code_layers(layers, Side::value);
      REQUIRE(coded.size() == layers.size());
      for (size_t l = 0; l < layers.size(); ++l) {
        const compress::Coded alone = codec->code(layers[l], Side::value);
        CHECK(at::equal(coded[l].restored, alone.restored));
        CHECK(coded[l].bytes.payload == alone.bytes.payload);
        CHECK(coded[l].bytes.metadata == alone.bytes.metadata);
      }
    }
  }
  CHECK(parse_method("f16").codec->code_layers({}, Side::key).empty());
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
                                {"hadamard:kivi:5", "got 5 bits"},
                                {"xkv", "got '', expected a rank"},
                                {"xkv:0", "got '0', expected a rank"},
                                {"xkv:1.5", "expected a share above 0 and below 1"},
                                {"xkv:8:0", "expected a group of 1 or more"},
                                {"xkv:8:4:2", "got 2 arguments"},
                                {"xkv:8:x", "got 'x'"},
                                {"minicache:1.5", "got '1.5', expected where between"},
                                {"minicache:-0.1", "got '-0.1'"},
                                {"minicache:nan", "got 'nan'"},
                                {"minicache:0.6:1.5", "got '1.5'"},
                                {"minicache:0.6:0:1", "got 2 arguments"}};
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const std::string message = message_of<UsageError>([&] { parse_method(one.text); });
    CAPTURE(message);
    CHECK(holds(message, one.part));
  }
}
