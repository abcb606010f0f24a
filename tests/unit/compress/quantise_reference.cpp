// SPDX-License-Identifier: MIT
#include "unit/compress/quantise_reference.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace kvviz::test {

at::Tensor cache_like(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto channels = static_cast<size_t>(shape.channels);
  std::vector<float> offset(channels), spread(channels);
  for (size_t c = 0; c < channels; ++c) {
    offset[c] = 2 * normal(random);
    spread[c] = std::exp(normal(random));
  }
  at::Tensor x = at::empty({shape.heads, shape.tokens, shape.channels}, at::kFloat);
  float* const out = x.data_ptr<float>();
  for (size_t i = 0; i < static_cast<size_t>(x.numel()); ++i)
    out[i] = offset[i % channels] + spread[i % channels] * normal(random);
  return x;
}

std::vector<float> numbers(const at::Tensor& x) {
  const float* const first = x.data_ptr<float>();
  return {first, first + x.numel()};
}

compress::Coded code(const std::string& method, const at::Tensor& x, compress::Side side) {
  return compress::parse_method(method).codec->code(x, side);
}

double squared_error(const at::Tensor& restored, const at::Tensor& x) {
  const auto got = numbers(restored), want = numbers(x);
  double sum = 0;
  for (size_t i = 0; i < want.size(); ++i)
    sum += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
  return sum;
}

double half_of(double x) {
  if (x == 0) return x;
  const double unit = std::ldexp(1.0, std::max(std::ilogb(x), -14) - 10);
  return std::clamp(std::nearbyint(x / unit) * unit, -65504.0, 65504.0);
}

std::vector<Group> groups(Shape shape, const GroupsOf& which) {
  std::vector<Group> all;
  const auto index = [&](int64_t head, int64_t token, int64_t channel) {
    return static_cast<size_t>((head * shape.tokens + token) * shape.channels + channel);
  };
  for (int64_t head = 0; head < shape.heads; ++head) {
    if (which.by_token) {
      for (int64_t token = which.first; token < which.last; ++token) {
        for (int64_t channel = 0; channel < shape.channels; ++channel) {
          if (channel % which.length == 0) all.emplace_back();
          all.back().push_back(index(head, token, channel));
        }
      }
    } else {
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        for (int64_t token = which.first; token < which.last; ++token) {
          if ((token - which.first) % which.length == 0) all.emplace_back();
          all.back().push_back(index(head, token, channel));
        }
      }
    }
  }
  return all;
}

void round_to_nearest(const std::vector<float>& x, const std::vector<Group>& groups, int bits,
                      Expected& out) {
  for (const Group& group : groups) {
    double low = INFINITY, high = -INFINITY;
    for (const size_t i : group) {
      low = std::min<double>(low, x[i]);
      high = std::max<double>(high, x[i]);
    }
    const double most = std::pow(2, bits) - 1;
    const double scale = half_of(static_cast<float>((high - low) / most)), zero = half_of(low);
    const auto restored = [&](double place) {
      return scale == 0 ? zero : zero + scale * std::clamp(std::nearbyint(place), 0.0, most);
    };
    for (const size_t i : group) {
      const double place = (static_cast<double>(x[i]) - zero) / scale;
      // f32 rounds the difference and the quotient: 2^-23 of at most 255.
      const double nudge = place - std::floor(place) < 0.5 ? 1e-4 : -1e-4;
      out.value[i] = restored(place);
      out.other[i] = restored(place + nudge);
    }
  }
}

void keep_half(const std::vector<float>& x, Shape shape, int64_t first, int64_t last, Expected& out) {
  for (const Group& token :
       groups(shape, {.by_token = true, .length = shape.channels, .first = first, .last = last}))
    for (const size_t i : token) out.value[i] = out.other[i] = half_of(x[i]);
}

size_t misses(const at::Tensor& restored, const Expected& want, double tolerance) {
  const auto got = numbers(restored);
  if (got.size() != want.value.size()) return got.size() + want.value.size();
  size_t count = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const bool hit =
        std::fabs(got[i] - want.value[i]) <= tolerance || std::fabs(got[i] - want.other[i]) <= tolerance;
    count += hit ? 0 : 1;
  }
  return count;
}

}  // namespace kvviz::test
