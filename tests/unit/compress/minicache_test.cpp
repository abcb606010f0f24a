// SPDX-License-Identifier: MIT
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvviz/compress/cross_layer.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "unit/compress/low_rank_reference.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using compress::Coded;
using compress::parse_method;
using compress::Side;
using namespace kvviz::test;

namespace {

std::vector<Coded> coded(const std::string& method, const std::vector<at::Tensor>& layers) {
  return parse_method(method).codec->code_layers(layers, Side::value);
}

using Vector = std::vector<double>;

Vector row(const at::Tensor& x, int64_t head, int64_t token) {
  Vector v;
  for (int64_t c = 0; c < x.size(2); ++c) v.push_back(double{x[head][token][c].item<float>()});
  return v;
}

double norm(const Vector& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

/// By the half angle: |u - v| = 2 sin(W / 2).
double angle(const Vector& a, const Vector& b) {
  Vector difference, sum;
  for (size_t c = 0; c < a.size(); ++c) {
    difference.push_back(a[c] / norm(a) - b[c] / norm(b));
    sum.push_back(a[c] / norm(a) + b[c] / norm(b));
  }
  return 2 * std::atan2(norm(difference), norm(sum));
}

/// The vector at angle t W from a in the plane of a and b: by Gram and Schmidt, not by the formula of SLERP.
Vector between(const Vector& a, const Vector& b, double t) {
  Vector unit, other;
  double along = 0;
  for (size_t c = 0; c < a.size(); ++c) {
    unit.push_back(a[c] / norm(a));
    along += unit[c] * b[c];
  }
  for (size_t c = 0; c < a.size(); ++c) other.push_back(b[c] - along * unit[c]);
  const double w = angle(a, b), length = norm(other);
  Vector e;
  for (size_t c = 0; c < a.size(); ++c)
    e.push_back(std::cos(t * w) * unit[c] + std::sin(t * w) * other[c] / length);
  return e;
}

at::Tensor near_to(const at::Tensor& x, double distance, unsigned seed) {
  const at::Tensor noise = gaussian({x.size(0), x.size(1), x.size(2)}, seed);
  return ((x + distance * noise) * at::abs(gaussian({x.size(0), x.size(1), 1}, seed + 1)) * 3).contiguous();
}

bool is_half(const Coded& got, const at::Tensor& x) {
  return at::equal(got.restored, x.to(at::kHalf).to(at::kFloat)) && got.bytes.metadata == 0 &&
         got.bytes.payload == 2.0 * static_cast<double>(x.numel());
}

}  // namespace

TEST_CASE("[minicache] the formula in double, for every head, token and layer of a pair") {
  const at::Tensor lower = gaussian({3, 60, 16}, 1), upper = near_to(lower, 0.5, 2);
  for (const double t : {0.6, 0.0, 1.0, 0.25}) {
    CAPTURE(t);
    const auto got = coded("minicache:" + std::to_string(t) + ":0", {lower, upper});
    size_t wrong = 0, kept = 0;
    for (int64_t h = 0; h < 3; ++h) {
      std::vector<double> angles;
      for (int64_t i = 0; i < 60; ++i) angles.push_back(angle(row(lower, h, i), row(upper, h, i)));
      std::vector<double> sorted = angles;
      std::ranges::sort(sorted, std::greater());
      for (int64_t i = 0; i < 60; ++i) {
        const Vector a = row(lower, h, i), b = row(upper, h, i), e = between(a, b, t);
        const bool alone = angles[i] >= sorted[2];  // 5 % of 60
        kept += alone ? 1 : 0;
        for (const size_t side : {0, 1}) {
          const Vector& x = side == 0 ? a : b;
          const Vector restored = row(got[side].restored, h, i);
          for (size_t c = 0; c < x.size(); ++c) {
            const double want = alone ? half_of(x[c]) : norm(x) * e[c];
            // Two roundings to f16 of 2^-11 each, near zero to multiples of 6e-8.
            const double tolerance = alone ? 0 : 0x1.01p-10 * std::fabs(want) + 6e-8 * norm(x);
            wrong += std::fabs(restored[c] - want) <= tolerance ? 0 : 1;
          }
        }
      }
    }
    CHECK(wrong == 0);
    CHECK(kept == 9);
  }
}

TEST_CASE("[minicache] bytes by hand: half a direction, a length each, the widest 5 % twice with an index") {
  const at::Tensor lower = gaussian({2, 110, 8}, 3), upper = near_to(lower, 0.5, 4);
  for (const Coded& layer : coded("minicache:0.6:0", {lower, upper})) {
    // 5 of 110 stay as they are.
    CHECK(layer.bytes.payload == 2 * (105 * 8 * 2 / 2));
    CHECK(layer.bytes.metadata == 2 * (105 * 2 + 5 * (8 * 2 + 2)));
  }
  // None of 19.
  const auto few = coded("minicache:0.6:0", {lower.slice(1, 0, 19), upper.slice(1, 0, 19)});
  CHECK(few[0].bytes.payload == 2 * (19 * 8));
  CHECK(few[0].bytes.metadata == 2 * (19 * 2));
}

TEST_CASE("[minicache] identical layers come back in f16 accuracy, scaled ones too") {
  const at::Tensor x = correlated({3, 80, 16}, 5);
  for (const Coded& layer : coded("minicache:0.6:0", {x, x})) CHECK(relative_error(layer.restored, x) < 5e-4);
  const auto scaled = coded("minicache:0.6:0", {x, 100 * x});
  CHECK(relative_error(scaled[0].restored, x) < 5e-4);
  CHECK(relative_error(scaled[1].restored, 100 * x) < 5e-4);
}

TEST_CASE("[minicache] lengths are kept, and the error is that of the turned direction") {
  const at::Tensor lower = gaussian({2, 100, 32}, 6), upper = near_to(lower, 0.3, 7);
  const auto got = coded("minicache:0.5:0", {lower, upper});
  check_close(numbers(got[0].restored.norm(2, 2)), numbers(lower.norm(2, 2)), {.rel = 1e-3});
  check_close(numbers(got[1].restored.norm(2, 2)), numbers(upper.norm(2, 2)), {.rel = 1e-3});
  // Half way, |x - restored| = 2 sin(W / 4) |x| for both layers.
  size_t merged = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const Vector a = row(lower, 0, i);
    Vector off = row(got[0].restored, 0, i);
    for (size_t c = 0; c < off.size(); ++c) off[c] -= a[c];
    const double want = 2 * std::sin(angle(a, row(upper, 0, i)) / 4);
    merged += std::fabs(norm(off) / norm(a) - want) < 1e-3 ? 1 : 0;
  }
  CHECK(merged == 95);
}

TEST_CASE("[minicache] pairs begin in the middle of the model; the others are f16") {
  std::vector<at::Tensor> layers;
  for (unsigned l = 0; l < 7; ++l) layers.push_back(gaussian({2, 40, 8}, 10 + l));
  const auto check = [&](const std::string& method, const std::vector<size_t>& first_of_pairs) {
    CAPTURE(method);
    const auto got = coded(method, layers);
    REQUIRE(got.size() == layers.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      CAPTURE(l);
      const auto begins = [&](size_t at) { return std::ranges::count(first_of_pairs, at) > 0; };
      const bool shared = begins(l) || (l > 0 && begins(l - 1));
      CHECK(is_half(got[l], layers[l]) == !shared);
      if (!begins(l)) continue;
      const auto pair = coded("minicache:0.6:0", {layers[l], layers[l + 1]});
      CHECK(at::equal(got[l].restored, pair[0].restored));
      CHECK(at::equal(got[l + 1].restored, pair[1].restored));
    }
  };
  check("minicache", {3, 5});
  check("minicache:0.6", {3, 5});
  check("minicache:0.6:0", {0, 2, 4});
  check("minicache:0.6:4", {4});
  check("minicache:0.6:6", {});
  layers[4] = gaussian({1, 40, 8}, 20);
  check("minicache", {5});
  layers.resize(1);
  check("minicache", {});
  CHECK(is_half(parse_method("minicache").codec->code(layers[0], Side::key), layers[0]));
  const std::string message = message_of<UsageError>([&] { coded("minicache:0.6:1", layers); });
  CHECK(holds(message, "got 1 as the first layer to merge of a model of 1 layers, expected 0 to 0"));
}

TEST_CASE("[minicache] zeros, opposite and parallel directions, large numbers: finite, lengths kept") {
  const at::Tensor x = gaussian({2, 10, 8}, 30);
  const auto opposite = coded("minicache:0.6:0", {x, -2 * x});
  CHECK(relative_error(opposite[1].restored, -2 * x) < 1e-3);  // the nearer end at t = 0.6
  check_close(numbers(opposite[0].restored), numbers(-x), {.abs = 4e-3});
  const auto zero = coded("minicache:0.6:0", {at::zeros({2, 10, 8}), x});
  CHECK(zero[0].restored.abs().max().item<float>() == 0);
  CHECK(relative_error(zero[1].restored, x) < 1e-3);
  const auto both = coded("minicache:0.6:0", {at::zeros({2, 10, 8}), at::zeros({2, 10, 8})});
  CHECK(both[1].restored.abs().max().item<float>() == 0);
  const auto large = coded("minicache:0.6:0", {1e4 * x, 1e25 * x});
  CHECK(relative_error(large[0].restored, 1e4 * x) < 1e-3);
  CHECK(std::isfinite(large[1].restored.abs().max().item<float>()));  // a length saturates at 65504
}

TEST_CASE("[minicache] the input stays as it is, and results do not depend on the threads") {
  const std::vector<at::Tensor> layers{gaussian({5, 70, 16}, 40), gaussian({5, 70, 16}, 41),
                                       gaussian({5, 70, 16}, 42), gaussian({5, 70, 16}, 43)};
  const at::Tensor before = layers[3].clone();
  for (const char* method : {"minicache", "hadamard:minicache"}) {
    kernels::set_thread_count(1);
    const auto one = coded(method, layers);
    kernels::set_thread_count(3);
    const auto three = coded(method, layers);
    for (size_t l = 0; l < layers.size(); ++l) CHECK(at::equal(one[l].restored, three[l].restored));
    CHECK(at::equal(layers[3], before));
    CHECK_FALSE(is_half(one[3], layers[3]));
  }
}
