// SPDX-License-Identifier: MIT
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace kvviz::test {

/// A checkpoint of tests/fixtures/models, as its manifest.json describes it.
struct ModelFixture {
  std::string name, family, architecture, checks;
  bool length_dependent_rope = false;  ///< its text is so long that early keys depend on the length
};
std::vector<ModelFixture> model_fixtures();

/// The largest difference from what transformers computed, relative to the largest magnitude of each tensor;
/// the worst over the layers.
struct Parity {
  double logits = 0, keys_values = 0, attention = 0, layer_out = 0;
  double steps = 0;  ///< logits, K and V of decoding token by token
};
/// Runs a fixture, its weights on `device`, as prefill and token by token. Fails the test on wrong shapes,
/// counts and NaN.
Parity measure_parity(const ModelFixture& fixture, at::Device device = at::kCPU);

/// The rows of the table in docs/models.md.
std::string parity_table(const std::vector<ModelFixture>& fixtures, const std::vector<Parity>& measured);

}  // namespace kvviz::test
