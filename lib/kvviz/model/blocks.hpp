// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include "kvviz/model/config.hpp"
#include "kvviz/model/weights.hpp"

namespace kvviz {

/// x [..., in] -> [..., out]. Without gradients: the pool's sgemm (kernels/gemm.hpp), which gives each entry
/// of a batch [batch, rows, in] exactly what it gets alone; with: libtorch's.
at::Tensor apply(const Linear& linear, const at::Tensor& x);

/// Layer or RMS norm over the last dimension; statistics in the dtype of x (f32).
at::Tensor apply(const Norm& norm, const at::Tensor& x, const ModelConfig& config);

at::Tensor mlp(const LayerWeights& layer, const at::Tensor& x, const ModelConfig& config);

/// cos and sin of the angles, each [tokens, rotary_dim / 2] in f32; angles are computed in fp64.
struct RopeTable {
  at::Tensor cos, sin;
};
RopeTable rope_table(const RopeConfig& rope, int64_t first_position, int64_t tokens);

/// x [batch, heads, tokens, head_dim] rotated; channels beyond rotary_dim pass unchanged.
at::Tensor rotate(const at::Tensor& x, const RopeTable& table, const RopeConfig& rope);

}  // namespace kvviz
