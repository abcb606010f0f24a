// SPDX-License-Identifier: MIT
#include "kvviz/eval/head_copies.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz {
namespace {
constexpr int64_t tokens_per_task = 256;
constexpr int64_t worth_sharing = 1 << 16;  // floats; less is copied sooner than a thread wakes up
}  // namespace

void copy_heads(const at::Tensor& from, std::span<const int64_t> from_heads, const at::Tensor& to,
                std::span<const int64_t> to_heads) {
  const int64_t tokens = to.size(2), dim = to.size(3);
  const int64_t parts = (tokens + tokens_per_task - 1) / tokens_per_task;
  const auto copy_part = [&](int64_t task) {
    const auto i = static_cast<size_t>(task / parts);
    const float* const source = from.data_ptr<float>() + from_heads[i] * from.stride(1);
    float* const target = to.data_ptr<float>() + to_heads[i] * to.stride(1);
    const int64_t first = task % parts * tokens_per_task, end = std::min(first + tokens_per_task, tokens);
    for (int64_t t = first; t < end; ++t)
      std::copy_n(source + t * from.stride(2), dim, target + t * to.stride(2));
  };
  const int64_t tasks = std::ssize(to_heads) * parts;
  if (std::ssize(to_heads) * tokens * dim >= worth_sharing) {
    kernels::parallel_for(tasks, copy_part);
    return;
  }
  for (int64_t task = 0; task < tasks; ++task) copy_part(task);
}

at::Tensor HeadStore::take(const at::Tensor& x, std::span<const int64_t> heads) {
  const int64_t count = std::ssize(heads), size = count * x.size(2) * x.size(3);
  if (!memory_.defined() || memory_.numel() < size) memory_ = at::empty({size}, at::kFloat);
  const at::Tensor copy = memory_.narrow(0, 0, size).view({1, count, x.size(2), x.size(3)});
  std::vector<int64_t> places(heads.size());
  std::iota(places.begin(), places.end(), 0);
  copy_heads(x, heads, copy, places);
  return copy;
}

}  // namespace kvviz
