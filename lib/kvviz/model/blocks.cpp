// SPDX-License-Identifier: MIT
#include "kvviz/model/blocks.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <numbers>

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

double frequency(const RopeConfig& rope, int64_t pair) {
  const double plain =
      std::pow(rope.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.rotary_dim));
  if (rope.scaling == RopeScaling::none) return plain;
  if (rope.scaling == RopeScaling::linear) return plain / rope.factor;
  const double turns = rope.original_context * plain / (2 * std::numbers::pi);
  const double blend = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  const double kept = std::clamp(blend, 0.0, 1.0);
  return kept * plain + (1 - kept) * plain / rope.factor;
}

}  // namespace

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  if (at::GradMode::is_enabled()) return at::linear(x, linear.weight, linear.bias);
  const at::Tensor input = x.contiguous();
  const int64_t in = linear.weight.size(1), out = linear.weight.size(0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  at::Tensor y = at::empty(shape, x.options());
  // One by one: a product's rounding depends on its shape, and no sequence should depend on its neighbours.
  const int64_t batch = x.dim() == 3 ? x.size(0) : 1, rows = x.numel() / in / batch;
  for (int64_t b = 0; b < batch; ++b) {
    kernels::linear(input.data_ptr<float>() + b * rows * in, linear.weight.data_ptr<float>(),
                    linear.bias.defined() ? linear.bias.data_ptr<float>() : nullptr,
                    y.data_ptr<float>() + b * rows * out, rows, in, out, out);
  }
  return y;
}

at::Tensor apply(const Norm& norm, const at::Tensor& x, const ModelConfig& config) {
  if (config.norm == NormKind::layer)
    return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config.norm_eps);
  return x.mul(x.square().mean(-1, true).add(config.norm_eps).rsqrt()).mul(norm.weight);
}

at::Tensor mlp(const LayerWeights& layer, const at::Tensor& x, const ModelConfig& config) {
  if (!config.gated_mlp) return apply(layer.down, activate(apply(layer.up, x), config.activation));
  at::Tensor gate = activate(apply(layer.gate, x), config.activation);
  const at::Tensor up = apply(layer.up, x);
  return apply(layer.down, at::GradMode::is_enabled() ? gate.mul(up) : gate.mul_(up));
}

RopeTable rope_table(const RopeConfig& rope, int64_t first_position, int64_t tokens) {
  const int64_t pairs = rope.rotary_dim / 2;
  RopeTable table{at::empty({tokens, pairs}), at::empty({tokens, pairs})};
  float* cosine = table.cos.data_ptr<float>();
  float* sine = table.sin.data_ptr<float>();
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const double step = frequency(rope, pair);
    for (int64_t t = 0; t < tokens; ++t) {
      const double angle = static_cast<double>(first_position + t) * step;
      cosine[t * pairs + pair] = static_cast<float>(std::cos(angle));
      sine[t * pairs + pair] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

at::Tensor rotate(const at::Tensor& x, const RopeTable& table, const RopeConfig& rope) {
  const int64_t rotary = rope.rotary_dim, pairs = rotary / 2;
  const bool interleaved = rope.pairing == RopePairing::interleaved;
  const at::Tensor turned = x.narrow(-1, 0, rotary);
  const at::Tensor a = interleaved ? turned.slice(-1, 0, rotary, 2) : turned.narrow(-1, 0, pairs);
  const at::Tensor b = interleaved ? turned.slice(-1, 1, rotary, 2) : turned.narrow(-1, pairs, pairs);
  const at::Tensor first = a.mul(table.cos).sub(b.mul(table.sin));
  const at::Tensor second = b.mul(table.cos).add(a.mul(table.sin));
  std::vector<at::Tensor> parts;
  if (interleaved)
    parts.push_back(at::stack({first, second}, -1).flatten(-2));
  else
    parts = {first, second};
  if (rotary < x.size(-1)) parts.push_back(x.narrow(-1, rotary, x.size(-1) - rotary));
  return at::cat(parts, -1);
}

}  // namespace kvviz
