// SPDX-License-Identifier: MIT
#include "kvviz/formats/quantised_blocks.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf.hpp"
#include "kvviz/formats/safetensors.hpp"

using namespace kvviz;

namespace {

std::span<const float> floats(const StoredTensor& tensor) {
  return {reinterpret_cast<const float*>(tensor.bytes.data()), tensor.bytes.size() / sizeof(float)};
}

}  // namespace

TEST_CASE("[quantised_blocks] every type widens to the values of the package gguf, to the last bit") {
  const StoredTensors fixture =
      read_safetensors(std::filesystem::path(KVVIZ_FIXTURES) / "gguf" / "blocks.safetensors");
  int types = 0;
  for (const auto& [name, blocks] : fixture) {
    if (!name.ends_with(".blocks")) continue;
    const std::string type = name.substr(0, name.find('.'));
    CAPTURE(type);
    ++types;
    const auto want = floats(fixture.at(type + ".values"));
    REQUIRE(want.size() >= 256);
    REQUIRE(can_widen(type));
    std::vector<float> got(want.size(), NAN);
    widen(type, blocks.bytes, got);
    size_t different = 0;
    for (size_t i = 0; i < want.size(); ++i) different += got[i] != want[i];
    CHECK(different == 0);
    // From an odd address: a tensor may lie anywhere.
    std::vector<std::byte> moved(blocks.bytes.size() + 1);
    std::copy(blocks.bytes.begin(), blocks.bytes.end(), moved.begin() + 1);
    std::vector<float> again(want.size(), NAN);
    widen(type, std::span<const std::byte>(moved).subspan(1), again);
    CHECK(again == got);
    CHECK(ggml_dtype(type)->layout.bytes == blocks.shape[1]);
  }
  CHECK(types == 17);
}

TEST_CASE("[quantised_blocks] a Q8_0 block by hand") {
  // d = 0.5 as f16, q = -128, -127, ..., -97.
  std::vector<std::byte> block(34);
  block[1] = std::byte{0x38};
  for (int i = 0; i < 32; ++i) block[static_cast<size_t>(2 + i)] = static_cast<std::byte>(128 + i);
  std::vector<float> values(32);
  widen("Q8_0", block, values);
  for (int i = 0; i < 32; ++i) CHECK(values[static_cast<size_t>(i)] == 0.5F * static_cast<float>(i - 128));
}

TEST_CASE("[quantised_blocks] rows in another order, and parts of them") {
  const float stored[] = {1, 2, 3, 4, 5, 6};
  StoredTensor tensor{"F32", {3, 2}, std::as_bytes(std::span(stored)), nullptr, {2, 0, 1}};
  std::vector<float> all(6), last(2);
  widen_rows(tensor, 0, all);
  widen_rows(tensor, 2, last);
  CHECK(all == std::vector<float>{5, 6, 1, 2, 3, 4});
  CHECK(last == std::vector<float>{3, 4});
  StoredTensor vector{"F32", {3}, std::as_bytes(std::span(stored)).first(12), nullptr, {2, 0, 1}};
  std::vector<float> values(3);
  widen_rows(vector, 0, values);
  CHECK(values == std::vector<float>{3, 1, 2});
  StoredTensor turned{"F32", {3, 2}, std::as_bytes(std::span(stored)), nullptr};
  turned.transposed = true;  // so the file holds two rows of three
  std::vector<float> second(3);
  widen_rows(turned, 1, second);
  CHECK(second == std::vector<float>{4, 5, 6});
  StoredTensor blocks{"Q8_0", {32}, {}, nullptr, std::vector<int64_t>(32)};
  std::vector<float> none(32);
  CHECK_THROWS_WITH_AS(widen_rows(blocks, 0, none), doctest::Contains("has to be taken apart"), DataError);
}

TEST_CASE("[quantised_blocks] other types are not widened") {
  for (const char* type : {"Q8_K", "IQ2_XS", "I8", "F64", "F8_E4M3", ""}) CHECK_FALSE(can_widen(type));
  CHECK(widened_dtypes() ==
        "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, "
        "MXFP4, TQ1_0, TQ2_0");
}
