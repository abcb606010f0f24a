// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

namespace kvviz {

/// The slopes of ALiBi, one a head (Press et al. 2022, arXiv 2108.12409, section 3, and their code for other
/// head counts): with n the largest power of two that is no more than `heads`, head i < n gets
/// 2^(-bias (i + 1) / n); those that are left get every second slope of 2 n heads, the first, third, and so
/// on. `bias` is 8 in the paper and in BLOOM and Falcon, `alibi_bias_max` in MPT. Falcon adds its bias before
/// the scale: its slopes are these times the attention scale.
std::vector<float> alibi_slopes(int64_t heads, double bias = 8);

}  // namespace kvviz
