// SPDX-License-Identifier: MIT
#include "kvviz/model/blocks.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "kvviz/kernels/gemm.hpp"

namespace kvviz {
namespace {

// In place where no gradient needs x: it is the widest tensor of a layer.
at::Tensor activate(at::Tensor x, Activation kind) {
  const bool keep = at::GradMode::is_enabled();
  switch (kind) {
    case Activation::gelu:
      return keep ? at::gelu(x) : at::gelu_(x);
    case Activation::gelu_tanh:
      return keep ? at::gelu(x, "tanh") : at::gelu_(x, "tanh");
    case Activation::silu:
      return keep ? at::silu(x) : at::silu_(x);
    case Activation::relu:
      return keep ? at::relu(x) : at::relu_(x);
  }
  throw std::logic_error("unknown activation");
}

kernels::WeightType weight_type(at::ScalarType type) {
  return type == at::kHalf       ? kernels::WeightType::f16
         : type == at::kBFloat16 ? kernels::WeightType::bf16
                                 : kernels::WeightType::f32;
}

bool differentiable(const at::Tensor& x, const Linear& linear) {
  return at::GradMode::is_enabled() && (x.requires_grad() || linear.weight.requires_grad());
}

// The inputs are rounded to the weights' dtype, as on a CPU with bf16 instructions.
at::Tensor device_product(const Linear& linear, const at::Tensor& x) {
  const at::Tensor y = at::linear(x.to(linear.weight.scalar_type()), linear.weight).to(at::kFloat);
  return linear.bias.defined() ? y.add(linear.bias) : y;
}

at::Tensor mlp_of(const Mlp& weights, const at::Tensor& x, const ModelConfig& config) {
  if (!config.gated_mlp) return apply(weights.down, activate(apply(weights.up, x), config.activation));
  at::Tensor gate = activate(apply(weights.gate, x), config.activation);
  const at::Tensor up = apply(weights.up, x);
  return apply(weights.down, at::GradMode::is_enabled() ? gate.mul(up) : gate.mul_(up));
}

// In pieces of rows: the MLP is the widest place of a layer.
at::Tensor mlp(const Mlp& weights, const at::Tensor& x, const ModelConfig& config) {
  constexpr int64_t piece = 2048;
  if (at::GradMode::is_enabled() || x.size(-2) <= piece) return mlp_of(weights, x, config);
  at::Tensor y = at::empty_like(x);
  for (int64_t first = 0; first < x.size(-2); first += piece) {
    const int64_t rows = std::min(piece, x.size(-2) - first);
    y.narrow(-2, first, rows).copy_(mlp_of(weights, x.narrow(-2, first, rows), config));
  }
  return y;
}

// Each expert runs once, over the rows that chose it.
at::Tensor mixture(const LayerWeights& layer, const at::Tensor& x, const ModelConfig& config,
                   const ExpertConfig& experts) {
  const at::Tensor rows = x.flatten(0, -2);
  auto [shares, chosen] = apply(layer.router, rows).softmax(-1).topk(experts.used, -1);
  if (experts.normalised) shares = shares.div(shares.sum(-1, true));
  const at::Tensor sum = at::zeros_like(rows);
  for (int64_t e = 0; e < experts.count; ++e) {
    const at::Tensor places = chosen.eq(e).nonzero();
    if (places.size(0) == 0) continue;
    const at::Tensor row = places.select(1, 0), rank = places.select(1, 1);
    const at::Tensor share = shares.index_select(0, row).gather(1, rank.unsqueeze(1));
    const Mlp& expert = layer.experts[static_cast<size_t>(e)];
    sum.index_add_(0, row, mlp(expert, rows.index_select(0, row), config).mul(share));
  }
  if (experts.shared_dim > 0)
    sum.add_(mlp(layer.shared_expert, rows, config).mul(apply(layer.shared_gate, rows).sigmoid()));
  return sum.view_as(x);
}

}  // namespace

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  if (differentiable(x, linear)) return at::linear(x, linear.weight, linear.bias);
  if (!x.is_cpu()) return device_product(linear, x);
  const at::Tensor input = x.contiguous();
  const kernels::LinearWeights weights{
      .data = linear.weight.data_ptr(),
      .type = weight_type(linear.weight.scalar_type()),
      .in = linear.weight.size(1),
      .out = linear.weight.size(0),
      .bias = linear.bias.defined() ? linear.bias.data_ptr<float>() : nullptr};
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weights.out;
  at::Tensor y = at::empty(shape, x.options());
  // One by one: a product's rounding depends on its shape, and no sequence should depend on its neighbours.
  const int64_t batch = x.dim() == 3 ? x.size(0) : 1, rows = x.numel() / weights.in / batch;
  for (int64_t b = 0; b < batch; ++b)
    kernels::linear(weights, input.data_ptr<float>() + b * rows * weights.in, rows,
                    y.data_ptr<float>() + b * rows * weights.out, weights.out);
  return y;
}

at::Tensor apply(const Norm& norm, const at::Tensor& x, const ModelConfig& config) {
  if (config.norm == NormKind::layer)
    return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config.norm_eps);
  return x.mul(x.square().mean(-1, true).add(config.norm_eps).rsqrt()).mul(norm.weight);
}

at::Tensor feed_forward(const LayerWeights& layer, const at::Tensor& x, const ModelConfig& config,
                        const ExpertConfig& experts) {
  return experts.count > 0 ? mixture(layer, x, config, experts) : mlp(layer.mlp, x, config);
}

at::Tensor softcapped(const at::Tensor& x, double cap) {
  return cap > 0 ? x.div(cap).tanh().mul(cap) : x;
}

}  // namespace kvviz
