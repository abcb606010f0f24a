// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace kvviz {

/// The ids as Decoder::hidden takes them: [1, ids], int64.
inline at::Tensor token_tensor(std::span<const int32_t> ids) {
  const at::Tensor input = at::empty({1, std::ssize(ids)}, at::kLong);
  std::ranges::copy(ids, input.data_ptr<int64_t>());
  return input;
}

}  // namespace kvviz
