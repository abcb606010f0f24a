// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace kvviz {

/// to[to_heads[i]] = from[from_heads[i]], both f32 [1, heads, tokens, head_dim] with dense channels and any
/// strides of tokens (0: one row for all) and heads. Shared out over the pool.
void copy_heads(const at::Tensor& from, std::span<const int64_t> from_heads, const at::Tensor& to,
                std::span<const int64_t> to_heads);

/// Memory for dense copies of chosen heads, used again from call to call: fresh memory costs more than the
/// copy.
class HeadStore {
 public:
  /// [1, heads, tokens, head_dim], dense; what was taken before is overwritten.
  at::Tensor take(const at::Tensor& x, std::span<const int64_t> heads);

 private:
  at::Tensor memory_;
};

}  // namespace kvviz
