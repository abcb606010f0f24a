// SPDX-License-Identifier: MIT
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/compress/cross_layer.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "support/close.hpp"
#include "unit/compress/low_rank_reference.hpp"

using namespace kvviz;
using namespace kvviz::compress;
using namespace kvviz::test;

namespace {

std::vector<Coded> coded(const std::string& method, const std::vector<at::Tensor>& layers) {
  return parse_method(method).codec->code_layers(layers, Side::key);
}

/// Layers that have much in common and something of their own.
std::vector<at::Tensor> alike(int64_t count, std::array<int64_t, 3> shape, unsigned seed) {
  const at::Tensor common = correlated(shape, seed);
  std::vector<at::Tensor> layers;
  for (int64_t l = 0; l < count; ++l) {
    const auto own = static_cast<unsigned>(l) * 10 + seed + 10;
    const at::Tensor mix = gaussian({shape[0], shape[2], shape[2]}, own) / 4;
    layers.push_back((at::matmul(common, mix) + 0.3 * gaussian(shape, own + 1)).contiguous());
  }
  return layers;
}

/// [tokens, layers x heads x channels].
Eigen::MatrixXd side_by_side(const std::vector<at::Tensor>& layers, size_t first, size_t last) {
  std::vector<at::Tensor> rows;
  for (size_t l = first; l < last; ++l)
    rows.push_back(layers[l].transpose(0, 1).reshape({layers[l].size(1), -1}));
  return matrix(at::cat(rows, 1));
}

double squared(double x) {
  return x * x;
}

double left_out(const std::vector<Coded>& got, const std::vector<at::Tensor>& layers, size_t first,
                size_t last) {
  double sum = 0;
  for (size_t l = first; l < last; ++l)
    sum +=
        squared(relative_error(got[l].restored, layers[l]) * layers[l].to(at::kDouble).norm().item<double>());
  return sum;
}

}  // namespace

TEST_CASE("[xkv] the squared error of a group is the energy of the singular values left out") {
  const auto layers = alike(5, {2, 40, 8}, 1);
  for (const int64_t rank : {1, 4, 12, 30}) {
    CAPTURE(rank);
    const auto got = coded("xkv:" + std::to_string(rank) + ":2", layers);
    for (size_t first = 0; first < 5; first += 2) {  // groups of 2, 2 and 1
      const size_t last = std::min<size_t>(first + 2, 5);
      const Eigen::MatrixXd m = side_by_side(layers, first, last);
      const double want = std::sqrt(energy_left_out(m, rank) / m.squaredNorm());
      const double error = std::sqrt(left_out(got, layers, first, last) / m.squaredNorm());
      CHECK(error >= want * (1 - 1e-6));
      CHECK(error <= want + kHalfError);
    }
  }
}

TEST_CASE("[xkv] identical layers cost one basis of the tokens and are as good as one layer alone") {
  const at::Tensor x = correlated({3, 60, 8}, 2);
  const std::vector<at::Tensor> layers(4, x);
  for (const int64_t rank : {2, 6, 12}) {
    CAPTURE(rank);
    const std::string text = std::to_string(rank);
    const Coded alone = parse_method("svd_joint:" + text).codec->code(x, Side::key);
    const auto got = coded("xkv:" + text, layers);
    double payload = 0;
    for (const Coded& layer : got) {
      check_close(relative_error(layer.restored, x), relative_error(alone.restored, x), {.abs = kHalfError});
      CHECK(layer.bytes.metadata == alone.bytes.metadata);
      payload += layer.bytes.payload;
    }
    CHECK(payload == alone.bytes.payload);
  }
}

TEST_CASE("[xkv] bytes: a basis of the tokens for the group, each layer its own factor") {
  const auto layers = alike(6, {2, 40, 8}, 3);
  const auto check = [&](const std::string& method, const std::vector<std::array<double, 2>>& want) {
    CAPTURE(method);
    const auto got = coded(method, layers);
    REQUIRE(got.size() == want.size());
    for (size_t l = 0; l < want.size(); ++l) {
      CHECK(got[l].bytes.payload == want[l][0]);
      CHECK(got[l].bytes.metadata == want[l][1]);
    }
  };
  // f16 of 40 x rank among 4 layers, then among the last 2; rank x (2 x 8) each.
  const std::array<double, 2> of_four{2.0 * 40 * 10 / 4, 2.0 * 10 * 16},
      of_two{2.0 * 40 * 10 / 2, 2.0 * 10 * 16};
  check("xkv:10", {of_four, of_four, of_four, of_four, of_two, of_two});
  check("xkv:10:2", {of_two, of_two, of_two, of_two, of_two, of_two});
  // At most min(tokens, width): 40 of 64, and 32 of the last two.
  check("xkv:99", {{2.0 * 40 * 40 / 4, 2.0 * 40 * 16},
                   {2.0 * 40 * 40 / 4, 2.0 * 40 * 16},
                   {2.0 * 40 * 40 / 4, 2.0 * 40 * 16},
                   {2.0 * 40 * 40 / 4, 2.0 * 40 * 16},
                   {2.0 * 40 * 32 / 2, 2.0 * 32 * 16},
                   {2.0 * 40 * 32 / 2, 2.0 * 32 * 16}});
}

TEST_CASE("[xkv] a share of the bytes is kept to, and one more rank would exceed it") {
  const auto layers = alike(3, {2, 50, 8}, 4);
  for (const double share : {0.2, 0.5, 0.75}) {
    CAPTURE(share);
    double total = 0;
    for (const Coded& layer : coded("xkv:" + std::to_string(share) + ":3", layers))
      total += layer.bytes.total();
    const double most = share * 2 * 3 * 2 * 50 * 8;
    CHECK(total <= most + 1e-9);
    CHECK(total + 2 * (50 + 48) > most);
  }
}

TEST_CASE("[xkv] the error never rises with the rank, and layers that share are better than each alone") {
  const auto layers = alike(4, {2, 64, 8}, 5);
  double last = 1;
  for (const char* rank : {"1", "2", "4", "8", "16", "32", "64"}) {
    const double error = left_out(coded(std::string("xkv:") + rank, layers), layers, 0, 4);
    CHECK((last == 1 || error <= last * (1 + kHalfError)));
    last = error;
  }
  const auto together = coded("xkv:0.25", layers), alone = coded("xkv:0.25:1", layers);
  CHECK(left_out(together, layers, 0, 4) < left_out(alone, layers, 0, 4));
}

TEST_CASE("[xkv] a group of one layer is svd_joint, bit for bit") {
  const auto layers = alike(3, {2, 30, 8}, 6);
  const auto got = coded("xkv:5:1", layers);
  for (size_t l = 0; l < 3; ++l) {
    const Coded want = parse_method("svd_joint:5").codec->code(layers[l], Side::key);
    CHECK(at::equal(got[l].restored, want.restored));
    CHECK(got[l].bytes.payload == want.bytes.payload);
    CHECK(at::equal(parse_method("xkv:5").codec->code(layers[l], Side::key).restored, want.restored));
  }
}

TEST_CASE("[xkv] a group ends where the shape changes") {
  auto layers = alike(2, {2, 30, 8}, 7);
  layers.push_back(correlated({1, 30, 8}, 8));
  layers.push_back(alike(1, {2, 30, 8}, 9)[0]);
  const auto got = coded("xkv:5:4", layers);
  const auto pair = coded("xkv:5:2", {layers[0], layers[1]});
  CHECK(at::equal(got[0].restored, pair[0].restored));
  CHECK(at::equal(got[1].restored, pair[1].restored));
  for (const size_t l : {2, 3}) {
    const Coded alone = parse_method("svd_joint:5").codec->code(layers[l], Side::key);
    CHECK(at::equal(got[l].restored, alone.restored));
    CHECK(got[l].bytes.payload == alone.bytes.payload);
  }
}

TEST_CASE("[xkv] the input stays as it is, and results do not depend on the threads") {
  const auto layers = alike(6, {2, 50, 16}, 10);
  std::vector<at::Tensor> before;
  for (const at::Tensor& x : layers) before.push_back(x.clone());
  for (const char* method : {"xkv:7:2", "hadamard:xkv:7:2"}) {
    kernels::set_thread_count(1);
    const auto one = coded(method, layers);
    kernels::set_thread_count(3);
    const auto three = coded(method, layers);
    for (size_t l = 0; l < layers.size(); ++l) {
      CHECK(at::equal(one[l].restored, three[l].restored));
      CHECK(at::equal(layers[l], before[l]));
    }
  }
}

TEST_CASE(
    "[xkv] behind a rotation the layers still share, and an orthonormal one changes no singular value") {
  const auto layers = alike(4, {2, 50, 16}, 11);
  const auto plain = coded("xkv:9", layers), turned = coded("hadamard:xkv:9", layers);
  for (size_t l = 0; l < 4; ++l) {
    CHECK(turned[l].bytes.payload == plain[l].bytes.payload);
    check_close(relative_error(turned[l].restored, layers[l]), relative_error(plain[l].restored, layers[l]),
                {.abs = kHalfError});
  }
}
