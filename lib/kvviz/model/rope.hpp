// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"

namespace kvviz {

enum class RopeScaling { none, linear, dynamic, llama3, yarn, longrope };

/// Rotary positions (Su et al. 2021, arXiv:2104.09864). With d = rotary_dim, pair f turns by position *
/// theta^(-2f/d) radians, changed by the scaling. With L = original_context and s = factor:
///   linear    every frequency is divided by s (Chen et al. 2023, arXiv:2306.15595)
///   dynamic   in a text of N > L positions theta becomes theta (s N / L - (s - 1))^(d / (d - 2))
///   llama3    frequencies that turn less than low_freq_factor times in L are divided by s, those that turn
///             more than high_freq_factor times are kept, those between are blended
///   yarn      the same with a ramp over the pairs between those that turn beta_fast and beta_slow times in L
///             (Peng et al. 2023, arXiv:2309.00071)
///   longrope  frequency f is divided by short_factors[f], in texts of more than L positions by
///             long_factors[f] (Ding et al. 2024, arXiv:2402.13753)
/// Rotated channels are multiplied by attention_factor (yarn, longrope), in queries and keys alike.
struct RopeConfig {
  double theta = 10000;
  int64_t rotary_dim = 0;
  RopePairing pairing = RopePairing::half;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole_pairs = true;  ///< yarn: the ramp begins and ends at whole pairs
  double original_context = 0;
  double attention_factor = 1;
  std::vector<double> short_factors = {}, long_factors = {};  ///< [rotary_dim / 2]
};

/// Radians that each pair turns from one position to the next, in a text of `length` positions;
/// [rotary_dim / 2].
std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t length);

/// attention_factor times cos and sin of the angles, each [tokens, rotary_dim / 2] in f32; angles are
/// computed in fp64.
struct RopeTable {
  at::Tensor cos, sin;
};

/// For `tokens` positions from `first_position` on, in a text of `length` positions (0: it ends with them).
RopeTable rope_table(const RopeConfig& rope, int64_t first_position, int64_t tokens, int64_t length = 0);

/// x [batch, heads, tokens, head_dim] rotated; channels beyond rotary_dim pass unchanged.
at::Tensor rotate(const at::Tensor& x, const RopeTable& table, const RopeConfig& rope);

}  // namespace kvviz
