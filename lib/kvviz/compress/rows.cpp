// SPDX-License-Identifier: MIT
#include "kvviz/compress/rows.hpp"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::compress {
namespace {

constexpr int64_t kPieceFloats = int64_t{1} << 15;

}  // namespace

Sheet::Sheet(const at::Tensor& x) : in_(x.contiguous()), out_(at::empty_like(in_)) {}

Sheet::Sheet(at::Tensor in, at::Tensor out) : in_(std::move(in)), out_(std::move(out)) {}

Sheet Sheet::in_place(const at::Tensor& x) {
  const at::Tensor dense = x.contiguous();
  return {dense, dense};
}

Bytes Sheet::for_each(TokenRange range, int64_t piece, const std::function<Bytes(const Rows&)>& body) const {
  const int64_t length = range.last - range.first;
  if (length <= 0) return {};
  const int64_t step = piece > 0 ? std::min(piece, length) : length;
  const int64_t pieces = (length + step - 1) / step;
  std::vector<Bytes> bytes(static_cast<size_t>(heads() * pieces));
  const float* const in = in_.data_ptr<float>();
  float* const out = out_.data_ptr<float>();
  kernels::parallel_for(heads() * pieces, [&](int64_t i) {
    const int64_t first = range.first + i % pieces * step;
    const int64_t offset = (i / pieces * tokens() + first) * channels();
    bytes[static_cast<size_t>(i)] =
        body({in + offset, out + offset, std::min(step, range.last - first), channels()});
  });
  Bytes total;
  for (const Bytes& part : bytes) {
    total.payload += part.payload;
    total.metadata += part.metadata;
  }
  return total;
}

int64_t piece_tokens(int64_t channels, int64_t group) {
  return group * std::max<int64_t>(1, kPieceFloats / std::max<int64_t>(1, channels * group));
}

}  // namespace kvviz::compress
