// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include "kvviz/model/config.hpp"
#include "kvviz/model/weights.hpp"

namespace kvviz {

/// x [..., in] -> [..., out] in f32. The pool's product (kernels/gemm.hpp) with a weight
/// of f32, bf16 or f16, which gives each entry of a batch [batch, rows, in] exactly what it gets alone; where
/// gradients are wanted, or x is not on the CPU: libtorch's.
at::Tensor apply(const Linear& linear, const at::Tensor& x);

/// Layer or RMS norm over the last dimension; statistics in the dtype of x (f32).
at::Tensor apply(const Norm& norm, const at::Tensor& x, const ModelConfig& config);

/// The MLP of a layer, or its mixture of experts; x [batch, tokens, hidden].
at::Tensor feed_forward(const LayerWeights& layer, const at::Tensor& x, const ModelConfig& config,
                        const ExpertConfig& experts);

/// cap * tanh(x / cap); x itself where cap is 0.
at::Tensor softcapped(const at::Tensor& x, double cap);

}  // namespace kvviz
