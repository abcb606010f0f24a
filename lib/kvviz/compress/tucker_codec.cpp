// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/compress/low_rank.hpp"
#include "kvviz/compress/rounding.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::compress {
namespace {

void store(std::vector<float>& values, float scale) {
  for (float& value : values) value = to_f16(value * scale);
}

}  // namespace

Coded code_tucker(stats::Tucker t) {
  const float scale = std::sqrt(static_cast<float>(t.tokens));
  store(t.core, 1 / scale);
  store(t.factors[0], 1);
  store(t.factors[1], scale);
  store(t.factors[2], 1);
  Coded coded{.restored = at::empty({t.heads, t.tokens, t.channels}, at::kFloat)};
  std::ranges::copy(stats::reconstruct(t), coded.restored.data_ptr<float>());
  coded.bytes.payload = 2.0 * static_cast<double>(t.core.size());
  for (const auto& factor : t.factors) coded.bytes.metadata += 2.0 * static_cast<double>(factor.size());
  return coded;
}

namespace {

class TuckerCodec final : public Codec {
 public:
  explicit TuckerCodec(const TuckerKept& kept) : kept_(kept) {}

  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const at::Tensor dense = x.contiguous();
    const stats::TensorView view{dense.data_ptr<float>(), x.size(0), x.size(1), x.size(2)};
    const stats::SerialBlas serial;
    return code_tucker(stats::tucker(view, {.ranks = ranks(view)}));
  }

 private:
  stats::Ranks ranks(const stats::TensorView& x) const {
    if (kept_.ranks) return *kept_.ranks;
    const double elements = *kept_.share * static_cast<double>(x.elements());
    return stats::rank_errors(x).best_within(static_cast<int64_t>(elements), x);
  }

  TuckerKept kept_;
};

}  // namespace

std::unique_ptr<Codec> tucker_codec(const TuckerKept& kept) {
  return std::make_unique<TuckerCodec>(kept);
}

}  // namespace kvviz::compress
