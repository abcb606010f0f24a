// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/attention/attention.hpp"

namespace kvviz {

/// What streaming_attention computes, with libtorch's operations on `device`: for a GPU, where the kernels
/// for CPUs do not run. Takes tensors of any device; the output and the statistics are on the CPU. Blocks of
/// queries again, so that no more than about six buffers of 128 MiB are on the device beside q, k and v; a
/// block is some 30 launches, for all heads together. Weights, and their sums within a block, are f32; sums
/// over blocks f64. A value that is not finite makes NaN of the output of all queries of its block, where the
/// kernels spare those before it.
at::Tensor device_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionSpec& spec, const kernels::AttentionRequest& request,
                            at::Device device, std::vector<kernels::HeadAttention>* statistics);

}  // namespace kvviz
