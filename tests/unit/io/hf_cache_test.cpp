// SPDX-License-Identifier: MIT
// Reads the files that scripts/export_hf_cache.py wrote from models of Hugging Face transformers.
#include <cmath>
#include <nlohmann/json.hpp>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/cache_file.hpp"

// After the headers of libtorch: glog, which they include, has a CHECK of its own.
#include <doctest/doctest.h>

namespace kvviz::io {
namespace {
using nlohmann::json;

const std::string folder = KVVIZ_FIXTURES "/hf_cache/";

// Elements are compared exactly: they were stored, not computed.
void check_tensor(const at::Tensor& tensor, const json& want) {
  const at::Tensor wide = widened(tensor);
  REQUIRE(wide.sizes().vec() == want["shape"].get<std::vector<int64_t>>());
  const auto* values = static_cast<const float*>(wide.data_ptr());
  const auto samples = want["values"].get<std::vector<double>>();
  const auto step = static_cast<size_t>(std::max<int64_t>(1, wide.numel() / 16));
  REQUIRE(samples.size() >= 16);
  for (size_t i = 0; i < samples.size(); ++i) CHECK(static_cast<double>(values[i * step]) == samples[i]);

  double sum = 0;
  double squares = 0;
  for (int64_t i = 0; i < wide.numel(); ++i) {
    sum += static_cast<double>(values[i]);
    squares += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  // Only the order of a double sum may differ.
  const double tolerance = 1e-13 * static_cast<double>(wide.numel());
  CHECK(std::abs(sum - want["sum"].get<double>()) <= tolerance);
  CHECK(std::abs(squares - want["sum_of_squares"].get<double>()) <= tolerance);
}

TEST_CASE("[hf_cache] caches exported from transformers hold what the model computed") {
  const json expected = json::parse(read_file(folder + "expected.json"));
  struct File {
    std::string name;
    at::ScalarType dtype;
    size_t layers;
    int rotary_dim, window;
  };
  for (const File& want : {File{"llama_f32", at::kFloat, 2, 8, 0}, File{"llama_f16", at::kHalf, 2, 8, 0},
                           File{"mistral_bf16", at::kBFloat16, 3, 6, 8}}) {
    CAPTURE(want.name);
    const CacheContents got = read_cache(folder + want.name + ".h5");
    REQUIRE(got.cache.layers.size() == want.layers);
    for (size_t i = 0; i < want.layers; ++i) {
      const LayerKv& layer = got.cache.layers[i];
      CHECK(bool(layer.key.scalar_type() == want.dtype));
      CHECK(layer.query_heads == 4);
      CHECK(layer.window == want.window);
      check_tensor(layer.key, expected["files"][want.name][i]["key"]);
      check_tensor(layer.value, expected["files"][want.name][i]["value"]);
    }
    CHECK(got.cache.basis == KeyBasis::post_rope);
    CHECK(got.cache.pairing == RopePairing::half);
    CHECK(got.cache.rotary_dim == want.rotary_dim);
    CHECK(got.cache.tokens.ids == expected["ids"].get<std::vector<int32_t>>());
    CHECK(got.cache.tokens.positions.back() == 18);
    CHECK(got.cache.tokens.text[0] == "<s>");
    CHECK(got.cache.tokens.text[7] == "<0xC3>");
    CHECK(got.cache.tokens.text[14] == "\n");
    CHECK(got.provenance.bos == "on");
    CHECK(got.provenance.architecture == want.name.substr(0, want.name.find('_')));
  }
}

}  // namespace
}  // namespace kvviz::io
