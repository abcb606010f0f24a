// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/attention/attention.hpp"

namespace kvviz {

/// The problem that q and k of streaming_attention are, without their data.
kernels::AttentionProblem attention_problem(const at::Tensor& q, const at::Tensor& k,
                                            const AttentionSpec& spec);

/// Where its output goes: [1, query_heads, queries, head_dim], a view of [queries, query_heads, head_dim]
/// storage on the CPU.
at::Tensor attention_output(const at::Tensor& q, const at::Tensor& v);

}  // namespace kvviz
