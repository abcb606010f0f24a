// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "kvviz/compress/low_rank.hpp"
#include "kvviz/compress/rounding.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/chance.hpp"
#include "kvviz/stats/complete_linkage.hpp"
#include "kvviz/stats/correlations.hpp"
#include "kvviz/stats/leading_vectors.hpp"

namespace kvviz::compress {
namespace {

/// One head: tokens x channels.
struct Head {
  const float* in = nullptr;
  float* out = nullptr;
  int64_t tokens = 0, channels = 0;
};

/// |correlation| of all pairs of channels; NaN for a channel that is constant.
std::vector<double> magnitudes(const Head& x) {
  std::vector<double> alike = stats::correlations({x.in, x.tokens, x.channels});
  for (double& value : alike) value = std::fabs(value);
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
  const double pairs = 0.5 * static_cast<double>(x.channels) * static_cast<double>(x.channels - 1);
  const double least = std::max(similarity, stats::chance_correlation(pairs, static_cast<double>(x.tokens)));
  Bytes bytes{.metadata = 2.0 * static_cast<double>(x.channels)};
  for (const auto& group : stats::complete_linkage(magnitudes(x), x.channels, least)) {
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
