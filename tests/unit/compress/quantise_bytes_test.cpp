// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using compress::Side;
using namespace kvviz::test;

TEST_CASE("[bytes] every method by hand") {
  struct Case {
    const char* method;
    Shape shape;
    Side side;
    double payload, metadata;
  };
  const std::vector<Case> cases{
      {"f32", {2, 10, 16}, Side::key, 1280, 0},
      {"f16", {2, 10, 16}, Side::key, 640, 0},
      {"bf16", {2, 10, 16}, Side::value, 640, 0},
      {"fp8", {2, 10, 16}, Side::key, 320, 8},
      // 2 x 10 x 16 codes of 3 bits = 960 bits; 3 x 5 x 7 of 3 bits = 315 bits.
      {"rtn_tensor:3", {2, 10, 16}, Side::key, 120, 4},
      {"rtn_tensor:3", {3, 5, 7}, Side::key, 40, 4},
      // 20 tokens: 16 x 4 bits = 8 bytes each; groups of 6: 6, 6, 4 channels = 18, 18, 12 bits = 3 + 3 + 2.
      {"rtn_token:4", {2, 10, 16}, Side::key, 160, 80},
      {"rtn_token:3:6", {2, 10, 16}, Side::key, 160, 240},
      // 32 channels: 10 x 2 bits = 3 bytes each; groups of 4: 4, 4, 2 tokens = 1 + 1 + 1.
      {"rtn_channel:2", {2, 10, 16}, Side::key, 96, 128},
      {"rtn_channel:2:4", {2, 10, 16}, Side::value, 96, 384},
      // Keys: 256 of 300 tokens: 2 heads x 64 channels x 8 groups of 8 bytes and 4; 2 x 44 x 64 halves.
      {"kivi:2", {2, 300, 64}, Side::key, 8192, 4096 + 11264},
      // Values: 172 tokens x 2 groups of 8 bytes and 4 a head; 2 x 128 x 64 halves.
      {"kivi:2", {2, 300, 64}, Side::value, 5504, 2752 + 32768},
      {"kivi:2", {2, 100, 64}, Side::key, 0, 25600},
      {"kivi:2", {2, 100, 64}, Side::value, 0, 25600},
      // 80 channels: groups of 32, 32, 16 a token: 12 + 12 + 6 bytes.
      {"kivi:3:32:0", {1, 70, 80}, Side::value, 2100, 840},
      {"kivi:3:32:0", {1, 70, 80}, Side::key, 80 * 2 * 12, 80 * 2 * 4 + 6 * 80 * 2},
      // 80 channels: blocks of 32, 32, 16.
      {"q8_0", {2, 10, 80}, Side::key, 1600, 120},
      {"q4_0", {2, 10, 80}, Side::key, 800, 120},
      {"q4_0", {1, 1, 33}, Side::key, 17, 4},
      {"hadamard:q4_0", {2, 10, 64}, Side::key, 640, 80}};
  for (const Case& one : cases) {
    CAPTURE(one.method);
    CAPTURE(one.shape.tokens);
    const at::Tensor x = cache_like(one.shape, 12);
    const compress::Coded coded = code(one.method, x, one.side);
    CHECK(coded.bytes.payload == one.payload);
    CHECK(coded.bytes.metadata == one.metadata);
    CHECK(coded.restored.sizes() == x.sizes());
    CHECK(coded.restored.is_contiguous());
  }
}

TEST_CASE("[bytes] KIVI's effective bits without a window: B + 32 / G") {
  for (const Side side : {Side::key, Side::value}) {
    const auto bits = [&](const char* method) {
      return 8 * code(method, cache_like({2, 256, 64}, 13), side).bytes.total() / (2 * 256 * 64);
    };
    CHECK(bits("kivi:2:32:0") == 3.0);
    CHECK(bits("kivi:4:32:0") == 5.0);
    CHECK(bits("kivi:2:64:0") == 2.5);
    CHECK(bits("kivi:4:64:0") == 4.5);
    CHECK(bits("q8_0") == 8.5);
    CHECK(bits("q4_0") == 4.5);
  }
}
