// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <vector>

#include "unit/kernels/reference.hpp"

namespace kvviz::test {

/// Computes the problem, with the output where it says.
using Attend =
    std::function<std::vector<kernels::HeadAttention>(AttentionData&, const kernels::AttentionRequest&)>;
std::vector<kernels::HeadAttention> by_kernels(AttentionData& data, const kernels::AttentionRequest& request);

/// Every statistic there is.
kernels::AttentionRequest everything(const AttentionCase& c);

/// Output and statistics against reference_head.
void check_against_reference(const AttentionCase& c, const kernels::AttentionRequest& request,
                             const Attend& attend = by_kernels);

}  // namespace kvviz::test
