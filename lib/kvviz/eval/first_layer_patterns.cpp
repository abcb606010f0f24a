// SPDX-License-Identifier: MIT
#include "kvviz/eval/first_layer_patterns.hpp"

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/attention_simd.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz {
namespace {

constexpr int64_t row_groups_per_block = 8;
constexpr int64_t key_block = 256;  // columns whose weights and values stay in the fast caches

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

at::Tensor FirstLayerPatterns::attend(const LayerQkv& x, std::span<const int64_t> heads) {
  const kernels::AttentionRequest request{
      .statistics = true, .sampled_queries = 0, .exact_heads = {heads.begin(), heads.end()}};
  std::vector<kernels::HeadAttention> measured;
  const at::Tensor out = streaming_attention(x.query, x.key, x.value, x.spec, request, &measured);
  tokens_ = x.query.size(2);
  window_ = x.spec.window;
  const int64_t rows = round_up(tokens_, kernels::attention_simd().row_group);
  // The layout of kernels::Strip. A stride that is a multiple of 4 KB would map all rows to the same cache
  // sets.
  const int64_t stride = round_up(tokens_, 64) + 16;
  weights_.assign(measured.size(), {});
  for (const int64_t head : heads) {
    const at::Tensor weights = at::zeros({rows, stride}, at::kFloat);
    std::vector<float>& exact = measured[static_cast<size_t>(head)].exact;
    for (int64_t i = 0; i < tokens_; ++i)
      std::copy_n(exact.data() + i * tokens_, tokens_, weights.data_ptr<float>() + i * stride);
    weights_[static_cast<size_t>(head)] = weights;
    exact = {};  // one pattern is held twice at a time, not all
  }
  return out;
}

void FirstLayerPatterns::multiply(std::span<const int64_t> heads, const at::Tensor& values,
                                  const at::Tensor& out) const {
  const kernels::AttentionSimd& simd = kernels::attention_simd();
  const int64_t dim = values.size(3), out_stride = round_up(dim, 16);
  const int64_t block = row_groups_per_block * simd.row_group;
  const int64_t blocks = (tokens_ + block - 1) / block;
  kernels::parallel_for(std::ssize(heads) * blocks, [&](int64_t task) {
    const auto i = static_cast<size_t>(task / blocks);
    // The longest blocks of rows first: they see the most keys.
    const int64_t first = (blocks - 1 - task % blocks) * block, rows = std::min(block, tokens_ - first);
    const at::Tensor& weights = weights_[static_cast<size_t>(heads[i])];
    std::vector<kernels::Span> visible;
    for (int64_t query = first; query < first + rows; ++query)
      visible.push_back({window_ > 0 ? std::max<int64_t>(query + 1 - window_, 0) : 0, query + 1});
    const kernels::Strip strip{.data = weights.data_ptr<float>() + first * weights.stride(0),
                               .stride = weights.stride(0),
                               .rows = rows,
                               .visible = visible.data()};
    static thread_local kernels::AlignedFloats buffer;
    const int64_t size = round_up(rows, simd.row_group) * out_stride;
    float* const sums = buffer.at_least(size);
    std::fill_n(sums, size, 0.0F);
    const float* const head_values = values.data_ptr<float>() + static_cast<int64_t>(i) * values.stride(1);
    for (int64_t column = visible.front().begin; column < visible.back().end; column += key_block) {
      const kernels::Span columns{column, std::min(column + key_block, visible.back().end)};
      simd.weighted_values(strip, columns, head_values, dim, dim, sums);
    }
    float* const to = out.data_ptr<float>() + heads[i] * out.stride(1) + first * out.stride(2);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(sums + r * out_stride, dim, to + r * out.stride(2));
  });
}

}  // namespace kvviz
