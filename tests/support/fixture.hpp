// SPDX-License-Identifier: MIT
#pragma once
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/model/checkpoint.hpp"

namespace kvviz::test {

/// The largest difference relative to the largest magnitude that is expected: |got - want| / max|want|. Fails
/// the test on different shapes, on nothing to compare, and on NaN.
inline double deviation(const at::Tensor& got, const at::Tensor& want) {
  REQUIRE(want.numel() > 0);
  REQUIRE(got.sizes() == want.sizes());
  const double difference = got.to(at::kDouble).sub(want.to(at::kDouble)).abs().max().item<double>();
  const double scale = want.to(at::kDouble).abs().max().item<double>();
  CHECK(scale > 0);
  CHECK(difference == difference);
  return difference / scale;
}
inline void check_near(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  CHECK(deviation(got, want) <= tolerance);
}

/// expected.safetensors of a folder in tests/fixtures/models: what Hugging Face transformers computed.
class Expected {
 public:
  explicit Expected(const std::filesystem::path& file) : checkpoint_(Checkpoint::open_file(file)) {}
  at::Tensor tensor(const std::string& name) const {
    const StoredTensor* stored = checkpoint_.find(name);
    REQUIRE_MESSAGE(stored != nullptr, name);
    return *borrowed(*stored);
  }
  std::vector<int32_t> ids() const {
    const at::Tensor ids = tensor("input_ids").flatten().to(at::kLong);
    const auto* first = ids.data_ptr<int64_t>();
    return {first, first + ids.numel()};
  }

 private:
  Checkpoint checkpoint_;
};

}  // namespace kvviz::test
