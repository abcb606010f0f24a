// SPDX-License-Identifier: MIT
#include "kvviz/compress/low_rank.hpp"

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

#include "kvviz/compress/rounding.hpp"
#include "kvviz/kernels/gemm.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/leading_vectors.hpp"

namespace kvviz::compress {
namespace {

constexpr double kHalf = 2;  // bytes of an f16

/// A matrix [tokens, width] that is factored by itself.
struct Matrix {
  const float* in = nullptr;
  float* out = nullptr;
  int64_t tokens = 0, width = 0;
  int64_t size() const { return tokens * width; }
};

int64_t fitting_rank(const SvdOptions& options, const Matrix& x) {
  if (options.kept.rank) return *options.kept.rank;
  const auto elements = static_cast<double>(x.size()), mean = static_cast<double>(x.width);
  const double room = *options.kept.share * elements - (options.center ? mean : 0);
  return static_cast<int64_t>(room / static_cast<double>(x.tokens + x.width));
}

int64_t rank_of_energy(std::span<const double> energies, double share) {
  const double total = std::accumulate(energies.begin(), energies.end(), 0.0);
  // The slack keeps an exact share from asking for one more direction by rounding.
  const double wanted = share * total * (1 - 1e-12);
  int64_t rank = 0;
  for (double sum = 0; rank < std::ssize(energies) && sum < wanted; ++rank) sum += energies[rank];
  return std::max<int64_t>(rank, 1);
}

/// V rounded to f16, row-major [width, rank], and exact, transposed: [rank, width].
struct Directions {
  std::vector<float> stored, exact;
  int64_t rank = 0;
};

Directions directions(const SvdOptions& options, const Matrix& x, const float* centred) {
  const int64_t most = std::min(x.tokens, x.width);
  const bool by_energy = options.kept.energy.has_value();
  const int64_t asked = by_energy ? most : std::clamp<int64_t>(fitting_rank(options, x), 1, most);
  const stats::Basis basis = stats::leading_right({centred, x.tokens, x.width}, asked);
  Directions v{.rank = by_energy ? rank_of_energy(basis.energies, *options.kept.energy) : asked};
  v.stored.resize(x.width * v.rank);
  v.exact.resize(x.width * v.rank);
  for (int64_t w = 0; w < x.width; ++w) {
    for (int64_t r = 0; r < v.rank; ++r) {
      const auto value = static_cast<float>(basis.vectors[w * basis.rank + r]);
      v.exact[r * x.width + w] = value;
      v.stored[w * v.rank + r] = to_f16(value);
    }
  }
  return v;
}

std::vector<float> stored_mean(const Matrix& x) {
  std::vector<float> mean;
  for (const double value : stats::column_means({x.in, x.tokens, x.width}))
    mean.push_back(to_f16(static_cast<float>(value)));
  return mean;
}

Bytes factor(const SvdOptions& options, const Matrix& x) {
  std::vector<float> centred(x.in, x.in + x.size());
  const std::vector<float> mean = options.center ? stored_mean(x) : std::vector<float>(x.width);
  for (int64_t i = 0; i < x.size(); ++i) centred[i] -= mean[i % x.width];
  const Directions v = directions(options, x, centred.data());

  std::vector<float> scores(x.tokens * v.rank);  // U S
  kernels::linear(centred.data(), v.exact.data(), nullptr, scores.data(), x.tokens, x.width, v.rank, v.rank);
  for (float& score : scores) score = to_f16(score);
  kernels::linear(scores.data(), v.stored.data(), mean.data(), x.out, x.tokens, v.rank, x.width, x.width);
  Bytes bytes{.payload = kHalf * static_cast<double>(scores.size()),
              .metadata = kHalf * static_cast<double>(v.stored.size())};
  if (options.center) bytes.metadata += kHalf * static_cast<double>(x.width);
  if (options.kept.energy) bytes.metadata += 2;
  return bytes;
}

class Svd final : public Codec {
 public:
  explicit Svd(const SvdOptions& options) : options_(options) {}

  Coded code(const at::Tensor& x, Side side) const override {
    const int64_t heads = x.size(0), tokens = x.size(1), channels = x.size(2);
    if (options_.joint && options_.group > 0 && options_.group < heads) return code_in_groups(x, side);
    const at::Tensor in = options_.joint ? x.transpose(0, 1).contiguous() : x.contiguous();
    const at::Tensor out = at::empty(in.sizes(), in.options());
    const int64_t matrices = options_.joint ? 1 : heads;
    std::vector<Bytes> bytes(matrices);
    const stats::SerialBlas serial;
    kernels::parallel_for(matrices, [&](int64_t i) {
      Matrix matrix{.tokens = tokens, .width = heads * channels / matrices};
      matrix.in = in.data_ptr<float>() + i * matrix.size();
      matrix.out = out.data_ptr<float>() + i * matrix.size();
      bytes[i] = factor(options_, matrix);
    });
    Coded coded{.restored = options_.joint ? out.transpose(0, 1).contiguous() : out};
    for (const Bytes& part : bytes) {
      coded.bytes.payload += part.payload;
      coded.bytes.metadata += part.metadata;
    }
    return coded;
  }

 private:
  Coded code_in_groups(const at::Tensor& x, Side side) const {
    Coded coded;
    std::vector<at::Tensor> restored;
    for (int64_t first = 0; first < x.size(0); first += options_.group) {
      const Coded part = code(x.narrow(0, first, std::min(options_.group, x.size(0) - first)), side);
      restored.push_back(part.restored);
      coded.bytes.payload += part.bytes.payload;
      coded.bytes.metadata += part.bytes.metadata;
    }
    coded.restored = at::cat(restored);
    return coded;
  }

  SvdOptions options_;
};

}  // namespace

std::unique_ptr<Codec> svd_codec(const SvdOptions& options) {
  return std::make_unique<Svd>(options);
}

}  // namespace kvviz::compress
