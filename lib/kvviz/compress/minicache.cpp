// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "kvviz/compress/cross_layer.hpp"
#include "kvviz/compress/quantise.hpp"
#include "kvviz/compress/rounding.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::compress {
namespace {

constexpr int64_t kKeptPercent = 5;
constexpr double kIndexBytes = 4, kHalfBytes = 2;

/// One head of the two layers of a pair.
struct HeadPair {
  std::array<const float*, 2> in{};
  std::array<float*, 2> out{};
  int64_t tokens = 0, channels = 0;
};

/// How the vectors of a token lie to each other.
struct Angle {
  std::array<double, 2> norm{};
  double angle = 0;  ///< 0 where one of them is zero: it has no direction to lose
};

Angle angle_at(const HeadPair& x, int64_t token) {
  const float* const a = x.in[0] + token * x.channels;
  const float* const b = x.in[1] + token * x.channels;
  double aa = 0, ab = 0, bb = 0;
#pragma omp simd reduction(+ : aa, ab, bb)
  for (int64_t c = 0; c < x.channels; ++c) {
    aa += double{a[c]} * double{a[c]};
    ab += double{a[c]} * double{b[c]};
    bb += double{b[c]} * double{b[c]};
  }
  Angle result{.norm = {std::sqrt(aa), std::sqrt(bb)}};
  const double norms = result.norm[0] * result.norm[1];
  if (norms > 0) result.angle = std::acos(std::clamp(ab / norms, -1.0, 1.0));
  return result;
}

/// e = weight[0] x_lower + weight[1] x_upper.
std::array<double, 2> weights(const Angle& at, double t) {
  const auto inverse = [](double norm) { return norm > 0 ? 1 / norm : 0; };
  const std::array<double, 2> one{inverse(at.norm[0]), inverse(at.norm[1])};
  if (at.norm[0] == 0 || at.norm[1] == 0) return one;
  const double sine = std::sin(at.angle);
  if (sine < 1e-6) return t < 0.5 ? std::array{one[0], 0.0} : std::array{0.0, one[1]};
  return {std::sin((1 - t) * at.angle) / sine * one[0], std::sin(t * at.angle) / sine * one[1]};
}

void merge(const HeadPair& x, int64_t token, const Angle& at, double t) {
  const std::array<double, 2> weight = weights(at, t);
  const int64_t first = token * x.channels;
  const std::array<float, 2> norm{to_f16(static_cast<float>(at.norm[0])),
                                  to_f16(static_cast<float>(at.norm[1]))};
  for (int64_t c = first; c < first + x.channels; ++c) {
    const double e = weight[0] * double{x.in[0][c]} + weight[1] * double{x.in[1][c]};
    const float stored = to_f16(static_cast<float>(e));
    for (size_t side = 0; side < 2; ++side) x.out[side][c] = stored * norm[side];
  }
}

/// Codes the head and returns the bytes of each of its layers.
Bytes code_pair(const HeadPair& x, double t) {
  std::vector<Angle> angles(static_cast<size_t>(x.tokens));
  for (int64_t i = 0; i < x.tokens; ++i) angles[i] = angle_at(x, i);
  const int64_t kept = x.tokens * kKeptPercent / 100;
  std::vector<int64_t> widest(angles.size());
  std::iota(widest.begin(), widest.end(), 0);
  std::partial_sort(widest.begin(), widest.begin() + kept, widest.end(), [&](int64_t i, int64_t j) {
    return angles[i].angle != angles[j].angle ? angles[i].angle > angles[j].angle : i < j;
  });

  for (int64_t i = kept; i < x.tokens; ++i) merge(x, widest[i], angles[widest[i]], t);
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t first = widest[i] * x.channels;
    for (size_t side = 0; side < 2; ++side)
      keep_f16({x.in[side] + first, x.out[side] + first, 1, x.channels});
  }
  const auto merged = static_cast<double>(x.tokens - kept), alone = static_cast<double>(kept),
             width = static_cast<double>(x.channels);
  return {.payload = kHalfBytes * merged * width / 2,
          .metadata = kHalfBytes * merged + alone * (kHalfBytes * width + kIndexBytes / 2)};
}

class MiniCache final : public Codec {
 public:
  explicit MiniCache(const MiniCacheOptions& options) : options_(options), half_(parse_method("f16").codec) {}

  Coded code(const at::Tensor& x, Side side) const override { return half_->code(x, side); }

  bool across_layers() const override { return true; }

  std::vector<Coded> code_layers(std::span<const at::Tensor> layers, Side side) const override {
    const auto count = std::ssize(layers);
    const int64_t first = options_.first_merged.value_or(count / 2);
    require<UsageError>(first < count || !options_.first_merged, "[minicache] got ", first,
                        " as the first layer to merge of a model of ", count, " layers, expected 0 to ",
                        count - 1);
    std::vector<Coded> coded;
    for (int64_t l = 0; l < count; ++l) {
      const bool paired =
          l >= first && (l - first) % 2 == 0 && l + 1 < count && layers[l].sizes() == layers[l + 1].sizes();
      if (paired) {
        auto pair = merged(layers.subspan(static_cast<size_t>(l++), 2));
        coded.insert(coded.end(), pair.begin(), pair.end());
      } else {
        coded.push_back(code(layers[l], side));
      }
    }
    return coded;
  }

 private:
  std::array<Coded, 2> merged(std::span<const at::Tensor> pair) const {
    const std::array<at::Tensor, 2> in{pair[0].contiguous(), pair[1].contiguous()};
    std::array<Coded, 2> coded;
    for (Coded& layer : coded) layer.restored = at::empty(in[0].sizes(), in[0].options());
    const int64_t heads = in[0].size(0), tokens = in[0].size(1), channels = in[0].size(2);
    std::vector<Bytes> bytes(static_cast<size_t>(heads));
    kernels::parallel_for(heads, [&](int64_t h) {
      HeadPair head{.tokens = tokens, .channels = channels};
      for (size_t side = 0; side < 2; ++side) {
        head.in[side] = in[side].data_ptr<float>() + h * tokens * channels;
        head.out[side] = coded[side].restored.data_ptr<float>() + h * tokens * channels;
      }
      bytes[h] = code_pair(head, options_.interpolation);
    });
    for (const Bytes& part : bytes) {
      for (Coded& layer : coded) {
        layer.bytes.payload += part.payload;
        layer.bytes.metadata += part.metadata;
      }
    }
    return coded;
  }

  MiniCacheOptions options_;
  std::shared_ptr<const Codec> half_;
};

}  // namespace

std::unique_ptr<Codec> minicache_codec(const MiniCacheOptions& options) {
  return std::make_unique<MiniCache>(options);
}

}  // namespace kvviz::compress
