// SPDX-License-Identifier: MIT
#include "kvviz/model/rope.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kvviz {
namespace {

double plain_frequency(double theta, int64_t pair, int64_t rotary_dim) {
  return std::pow(theta, -2.0 * static_cast<double>(pair) / static_cast<double>(rotary_dim));
}

double dynamic_theta(const RopeConfig& rope, int64_t length) {
  const double stretch = std::max(static_cast<double>(length) / rope.original_context, 1.0);
  const auto dim = static_cast<double>(rope.rotary_dim);
  return rope.theta * std::pow(rope.factor * stretch - (rope.factor - 1), dim / (dim - 2));
}

double llama3_kept(const RopeConfig& rope, double frequency) {
  const double turns = rope.original_context * frequency / (2 * std::numbers::pi);
  return std::clamp((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0,
                    1.0);
}

// The pair, as a fraction, that turns so many times in the original context.
double pair_of_turns(const RopeConfig& rope, double turns) {
  return static_cast<double>(rope.rotary_dim) *
         std::log(rope.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
}

double yarn_kept(const RopeConfig& rope, int64_t pair) {
  double first = pair_of_turns(rope, rope.beta_fast), last = pair_of_turns(rope, rope.beta_slow);
  if (rope.whole_pairs) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(rope.rotary_dim - 1));
  if (first == last) last += 0.001;  // a step instead of a ramp, without dividing by nothing
  return 1 - std::clamp((static_cast<double>(pair) - first) / (last - first), 0.0, 1.0);
}

double frequency(const RopeConfig& rope, int64_t pair, int64_t length) {
  const double plain = plain_frequency(rope.theta, pair, rope.rotary_dim);
  const auto blended = [&](double kept) { return kept * plain + (1 - kept) * plain / rope.factor; };
  switch (rope.scaling) {
    case RopeScaling::none:
      return plain;
    case RopeScaling::linear:
      return plain / rope.factor;
    case RopeScaling::dynamic:
      return plain_frequency(dynamic_theta(rope, length), pair, rope.rotary_dim);
    case RopeScaling::llama3:
      return blended(llama3_kept(rope, plain));
    case RopeScaling::yarn:
      return blended(yarn_kept(rope, pair));
    case RopeScaling::longrope: {
      const bool is_long = static_cast<double>(length) > rope.original_context;
      return plain / (is_long ? rope.long_factors : rope.short_factors)[static_cast<size_t>(pair)];
    }
  }
  throw std::logic_error("unknown RoPE scaling");
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t length) {
  std::vector<double> all;
  for (int64_t pair = 0; pair < rope.rotary_dim / 2; ++pair) all.push_back(frequency(rope, pair, length));
  return all;
}

RopeTable rope_table(const RopeConfig& rope, int64_t first_position, int64_t tokens, int64_t length) {
  const int64_t pairs = rope.rotary_dim / 2;
  const std::vector<double> steps = rope_frequencies(rope, length > 0 ? length : first_position + tokens);
  RopeTable table{at::empty({tokens, pairs}), at::empty({tokens, pairs})};
  float* cosine = table.cos.data_ptr<float>();
  float* sine = table.sin.data_ptr<float>();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const double angle = static_cast<double>(first_position + t) * steps[static_cast<size_t>(pair)];
      cosine[t * pairs + pair] = static_cast<float>(rope.attention_factor * std::cos(angle));
      sine[t * pairs + pair] = static_cast<float>(rope.attention_factor * std::sin(angle));
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
