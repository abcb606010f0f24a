// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "kvviz/compress/low_rank.hpp"
#include "kvviz/compress/rounding.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/complete_linkage.hpp"
#include "kvviz/stats/leading_vectors.hpp"

namespace kvviz::compress {
namespace {

/// One head: tokens x channels.
struct Head {
  const float* in = nullptr;
  float* out = nullptr;
  int64_t tokens = 0, channels = 0;
};

/// Above what chance gives the most correlated of all pairs of independent channels in 99 of 100 heads, by
/// Fisher's z and the bound exp(-z^2/2) of a normal tail.
double chance_level(const Head& x) {
  if (x.tokens <= 3) return 1;
  const double pairs = 0.5 * static_cast<double>(x.channels) * static_cast<double>(x.channels - 1);
  const double z = std::sqrt(2 * std::log(std::max(pairs, 1.0) / 0.01));
  return std::tanh(z / std::sqrt(static_cast<double>(x.tokens - 3)));
}

/// |correlation| of all pairs of channels, 0 for a channel that is constant.
std::vector<double> correlations(const Head& x, std::span<const double> mean) {
  const int64_t n = x.channels;
  std::vector<double> products(n * n);
  for (int64_t t = 0; t < x.tokens; ++t) {
    const float* const row = x.in + t * n;
    for (int64_t i = 0; i < n; ++i) {
      const double value = double{row[i]} - mean[i];
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) products[i * n + j] += value * (double{row[j]} - mean[j]);
    }
  }
  std::vector<double> alike(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double scale = std::sqrt(products[i * n + i] * products[j * n + j]);
      alike[i * n + j] = scale > 0 ? std::fabs(products[i * n + j]) / scale : 0;
    }
  }
  return alike;
}

/// One f16 channel for all of `group`, read back as its scale times it plus the channel's mean.
Bytes share(const Head& x, const std::vector<int64_t>& group, std::span<const double> mean) {
  const auto size = std::ssize(group);
  std::vector<float> members(x.tokens * size), means;
  for (const int64_t c : group) means.push_back(to_f16(static_cast<float>(mean[c])));
  for (int64_t t = 0; t < x.tokens; ++t) {
    for (int64_t i = 0; i < size; ++i) members[t * size + i] = x.in[t * x.channels + group[i]] - means[i];
  }
  const stats::Basis direction = stats::leading_right({members.data(), x.tokens, size}, 1);
  for (int64_t t = 0; t < x.tokens; ++t) {
    double shared = 0;
    for (int64_t i = 0; i < size; ++i) shared += direction.vectors[i] * double{members[t * size + i]};
    const float stored = to_f16(static_cast<float>(shared));
    for (int64_t i = 0; i < size; ++i) {
      const float scale = to_f16(static_cast<float>(direction.vectors[i]));
      x.out[t * x.channels + group[i]] = stored * scale + means[i];
    }
  }
  return {.payload = 2.0 * static_cast<double>(x.tokens), .metadata = 4.0 * static_cast<double>(size)};
}

Bytes keep(const Head& x, int64_t channel) {
  for (int64_t i = channel; i < x.tokens * x.channels; i += x.channels) x.out[i] = to_f16(x.in[i]);
  return {.payload = 2.0 * static_cast<double>(x.tokens)};
}

Bytes group_channels(const Head& x, double similarity) {
  const std::vector<double> mean = stats::column_means({x.in, x.tokens, x.channels});
  const double least = std::max(similarity, chance_level(x));
  Bytes bytes{.metadata = 2.0 * static_cast<double>(x.channels)};
  for (const auto& group : stats::complete_linkage(correlations(x, mean), x.channels, least)) {
    // Two means and two scales must not take more than the channel that is saved.
    const bool pays = x.tokens * (std::ssize(group) - 1) > 2 * std::ssize(group);
    for (size_t i = 0; i < (pays ? 1 : group.size()); ++i) {
      const Bytes part = pays ? share(x, group, mean) : keep(x, group[i]);
      bytes.payload += part.payload;
      bytes.metadata += part.metadata;
    }
  }
  return bytes;
}

class ChannelGroups final : public Codec {
 public:
  explicit ChannelGroups(double similarity) : similarity_(similarity) {}

  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const at::Tensor in = x.contiguous();
    Coded coded{.restored = at::empty(in.sizes(), in.options())};
    std::vector<Bytes> bytes(x.size(0));
    const stats::SerialBlas serial;
    kernels::parallel_for(x.size(0), [&](int64_t h) {
      const int64_t first = h * x.size(1) * x.size(2);
      const Head head{in.data_ptr<float>() + first, coded.restored.data_ptr<float>() + first, x.size(1),
                      x.size(2)};
      bytes[h] = head.channels > 1 ? group_channels(head, similarity_) : keep(head, 0);
    });
    for (const Bytes& part : bytes) {
      coded.bytes.payload += part.payload;
      coded.bytes.metadata += part.metadata;
    }
    return coded;
  }

 private:
  double similarity_;
};

}  // namespace

std::unique_ptr<Codec> groups_codec(double similarity) {
  return std::make_unique<ChannelGroups>(similarity);
}

}  // namespace kvviz::compress
