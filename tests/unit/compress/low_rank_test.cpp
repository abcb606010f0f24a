// SPDX-License-Identifier: MIT
#include "kvviz/compress/low_rank.hpp"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <vector>

#include "kvviz/compress/codec.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "support/close.hpp"
#include "unit/compress/low_rank_reference.hpp"

using namespace kvviz;
using namespace kvviz::compress;
using namespace kvviz::test;

namespace {

Coded coded(const std::string& method, const at::Tensor& x) {
  return parse_method(method).codec->code(x, Side::key);
}

double error(const at::Tensor& x, const at::Tensor& restored) {
  return relative_error(restored, x);
}

double error(const std::string& method, const at::Tensor& x) {
  return error(x, coded(method, x).restored);
}

}  // namespace

TEST_CASE("[low_rank] svd: the error is the energy of the singular values left out, for each head") {
  for (const auto& shape : {std::array<int64_t, 3>{2, 40, 12}, {3, 9, 16}}) {  // tall and wide
    const at::Tensor x = correlated(shape, 1);
    for (const int64_t rank : {1, 3, 6}) {
      double left_out = 0, total = 0;
      for (int64_t h = 0; h < shape[0]; ++h) {
        left_out += energy_left_out(matrix(x[h]), rank);
        total += matrix(x[h]).squaredNorm();
      }
      const double got = error("svd:" + std::to_string(rank), x), want = std::sqrt(left_out / total);
      CHECK(got >= want * (1 - 1e-6));
      CHECK(got <= want + kHalfError);
    }
  }
}

TEST_CASE("[low_rank] svd_joint: the same of all heads side by side") {
  const at::Tensor x = correlated({3, 40, 6}, 2);
  const Eigen::MatrixXd m = matrix(x.transpose(0, 1).reshape({40, 18}));
  for (const int64_t rank : {1, 5, 12}) {
    const double want = std::sqrt(energy_left_out(m, rank) / m.squaredNorm());
    const double got = error("svd_joint:" + std::to_string(rank), x);
    CHECK(got >= want * (1 - 1e-6));
    CHECK(got <= want + kHalfError);
  }
}

TEST_CASE("[low_rank] pca: the same of what is left without the mean") {
  const at::Tensor x = correlated({2, 40, 12}, 3);
  const at::Tensor centred = x - x.mean(1, true);
  double left_out = 0;
  for (int64_t h = 0; h < 2; ++h) left_out += energy_left_out(matrix(centred[h]), 3);
  const double want = std::sqrt(left_out) / x.to(at::kDouble).norm().item<double>();
  const double got = error("pca:3", x);
  CHECK(got >= want * (1 - 1e-6));
  CHECK(got <= want + kHalfError);
  CHECK(got < error("svd:3", x));
  // Constant over the tokens: the mean is all there is, but for its rounding, which one direction takes.
  CHECK(error("pca:1", gaussian({2, 1, 12}, 4).expand({2, 30, 12}).contiguous()) < kHalfError);
}

TEST_CASE("[low_rank] an exact rank is recovered") {
  const at::Tensor x = at::matmul(gaussian({2, 50, 4}, 5), gaussian({2, 4, 16}, 6));
  CHECK(error("svd:4", x) < kHalfError);
  CHECK(error("svd_energy:0.999999", x) < 2 * kHalfError);
  CHECK(coded("svd_energy:0.999999", x).bytes.payload == 2 * 2 * 50 * 4);
  CHECK(error("svd:3", x) > 0.01);
  const at::Tensor shared = at::matmul(gaussian({1, 50, 4}, 7), gaussian({2, 4, 16}, 8));
  CHECK(error("svd_joint:4", shared) < kHalfError);
  CHECK(error("tucker:2:4:16", shared) < kHalfError);
}

TEST_CASE("[low_rank] bytes are those of the factors, also when they are more than the original") {
  const at::Tensor x = gaussian({3, 40, 8}, 9);
  const auto check = [&](const std::string& method, double payload, double metadata) {
    CAPTURE(method);
    const Bytes bytes = coded(method, x).bytes;
    CHECK(bytes.payload == payload);
    CHECK(bytes.metadata == metadata);
  };
  check("svd:4", 2 * 3 * 40 * 4, 2 * 3 * 4 * 8);
  check("pca:4", 2 * 3 * 40 * 4, 2 * 3 * (4 * 8 + 8));
  check("svd_joint:4", 2 * 40 * 4, 2 * 4 * 24);
  check("tucker:2:6:4", 2 * 2 * 6 * 4, 2 * (3 * 2 + 40 * 6 + 8 * 4));
  check("svd:999", 2 * 3 * 40 * 8, 2 * 3 * 8 * 8);                  // rank 8
  check("tucker:9:99:99", 2 * 3 * 24 * 8, 2 * (9 + 40 * 24 + 64));  // ranks 3, 24, 8
  const double original = 2.0 * static_cast<double>(x.numel());
  CHECK(coded("svd:8", x).bytes.total() > original);
  CHECK(coded("tucker:3:24:8", x).bytes.total() > original);
}

TEST_CASE("[low_rank] a share of the bytes is kept to, and one more rank would exceed it") {
  const at::Tensor x = correlated({3, 64, 16}, 10);
  const double original = 2.0 * static_cast<double>(x.numel());
  for (const char* share : {"0.125", "0.25", "0.5", "0.75"}) {
    const double most = std::stod(share) * original;
    for (const char* method : {"svd", "pca", "svd_joint", "tucker"}) {
      CAPTURE(method);
      CAPTURE(share);
      CHECK(coded(method + std::string(":") + share, x).bytes.total() <= most);
    }
    CHECK(coded(std::string("svd:") + share, x).bytes.total() + 3 * 2 * (64 + 16) > most);
    CHECK(coded(std::string("svd_joint:") + share, x).bytes.total() + 2 * (64 + 48) > most);
    CHECK(coded(std::string("tucker:") + share, x).bytes.total() > 0.8 * most);
  }
  // No room for a single direction: one stays.
  CHECK(coded("svd:0.001", x).bytes.payload == 2 * 3 * 64);
}

TEST_CASE("[low_rank] svd_energy keeps the least rank that carries the share") {
  at::Tensor x = at::zeros({2, 6, 4});
  for (int64_t i = 0; i < 4; ++i) x[0][i][i] = 2;  // energies 4, 4, 4, 4
  x[1][0][0] = 3;                                  // 9
  x[1][1][1] = 1;                                  // 1
  const Bytes half = coded("svd_energy:0.5", x).bytes, most = coded("svd_energy:0.95", x).bytes;
  CHECK(half.payload == 2 * 6 * (2 + 1));
  CHECK(half.metadata == 2 * 4 * (2 + 1) + 2 * 2);
  CHECK(most.payload == 2 * 6 * (4 + 2));
  CHECK(coded("svd_energy:0.9", x).bytes.payload == 2 * 6 * (4 + 1));
}

TEST_CASE("[low_rank] errors never rise along the sweeps") {
  const at::Tensor x = correlated({2, 64, 16}, 11);
  for (const char* method : {"svd", "svd_energy", "pca", "svd_joint", "tucker", "groups"}) {
    CAPTURE(method);
    double last_error = 0, last_bytes = 1e9;
    for (const std::string_view arguments : parse_method(method + std::string(":0.5")).info->sweep) {
      const Coded c = coded(method + (":" + std::string(arguments)), x);
      const double now = error(x, c.restored);
      CHECK(c.bytes.total() <= last_bytes);
      CHECK(now >= last_error - kHalfError);
      last_error = now;
      last_bytes = c.bytes.total();
    }
    CHECK(last_error > 0.01);
  }
}

TEST_CASE("[low_rank] what is restored are products of numbers that f16 holds") {
  // Rank one: the score of a token times the direction; both are f16, so ratios of tokens are ratios of f16.
  const at::Tensor x = correlated({1, 20, 8}, 12);
  const at::Tensor restored = coded("svd:1", x).restored[0];
  const at::Tensor direction = restored[0] / restored[0].norm();
  const Eigen::MatrixXd m = matrix(restored);
  CHECK(energy_left_out(m, 1) < 1e-12 * m.squaredNorm());
  CHECK(error(x, coded("svd:8", x).restored) > 1e-5);  // f32 factors would be ten times nearer
  CHECK(direction.norm().item<float>() == doctest::Approx(1));
}

TEST_CASE("[low_rank] noise is not compressible") {
  const at::Tensor x = gaussian({4, 256, 32}, 13);
  for (const char* method : {"svd:0.25", "pca:0.25", "svd_joint:0.25", "tucker:0.25"}) {
    CAPTURE(method);
    CHECK(error(method, x) > 0.75);  // a quarter of the energy and what the fit finds: sqrt(1 - 0.25) = 0.87
  }
}

TEST_CASE("[low_rank] degenerate shapes, zeros and large numbers") {
  for (const char* method : {"svd:2", "svd:0.25", "svd_energy:0.9", "pca:2", "svd_joint:3", "tucker:2:2:2",
                             "tucker:0.25", "groups:0.5"}) {
    CAPTURE(method);
    for (const auto& shape : {std::array<int64_t, 3>{1, 1, 1}, {1, 1, 8}, {1, 8, 1}, {4, 1, 1}, {2, 3, 64}}) {
      const at::Tensor x = gaussian(shape, 14);
      const double got = error(method, x);
      CHECK(got < 1.001);
      CHECK(coded(method, at::zeros(x.sizes())).restored.abs().max().item<float>() == 0);
    }
    const at::Tensor large = correlated({2, 128, 16}, 15) * 2000;
    CHECK(std::isfinite(error(method, large)));
    check_close(error(method, large), error(method, large / 2000), Tol{.abs = kHalfError});
  }
}

TEST_CASE("[low_rank] the input stays as it is, and results do not depend on the threads") {
  const at::Tensor x = correlated({5, 70, 24}, 16);
  const at::Tensor before = x.clone();
  for (const char* method :
       {"svd:6", "svd_energy:0.95", "pca:6", "svd_joint:20", "tucker:3:20:9", "tucker:0.3", "groups:0.5"}) {
    CAPTURE(method);
    kernels::set_thread_count(1);
    const Coded one = coded(method, x);
    kernels::set_thread_count(3);
    const Coded three = coded(method, x);
    CHECK(one.restored.equal(three.restored));
    CHECK(one.bytes.total() == three.bytes.total());
    CHECK(x.equal(before));
  }
}

TEST_CASE("[groups] planted groups share one channel, signs and means included") {
  // Channels 0, 2 and 5 follow one signal, 1 and 4 another; 3 is by itself.
  const at::Tensor signals = gaussian({1, 200, 3}, 17)[0];
  const std::array<int, 6> signal{0, 1, 0, 2, 1, 0};
  const std::array<float, 6> scale{1, 3, -2, 1, 0.5F, 0.25F}, mean{0, 5, 1, 0, -2, 3};
  at::Tensor x = at::empty({1, 200, 6});
  for (int64_t c = 0; c < 6; ++c)
    x.select(2, c).copy_(signals.select(1, signal[c]).mul(scale[c]).add(mean[c]));
  const Coded c = coded("groups:0.95", x);
  CHECK(error(x, c.restored) < kHalfError);
  CHECK(c.bytes.payload == 2 * 200 * 3);
  CHECK(c.bytes.metadata == 2 * 6 + 4 * 5);
  // Of a group that is not exact the first principal component is kept.
  const at::Tensor noisy = x + 0.2 * gaussian({1, 200, 6}, 18);
  const at::Tensor centred = noisy - noisy.mean(1, true);
  const auto left_out = [&](const std::vector<int64_t>& group) {
    return energy_left_out(matrix(centred[0].index_select(1, at::tensor(group))), 1);
  };
  const double total = noisy.to(at::kDouble).norm().item<double>();
  const Coded rough = coded("groups:0.5", noisy);
  REQUIRE(rough.bytes.payload == 2 * 200 * 3);
  check_close(error(noisy, rough.restored), std::sqrt(left_out({0, 2, 5}) + left_out({1, 4})) / total,
              Tol{.abs = kHalfError});
}

TEST_CASE("[groups] noise forms none, however few the tokens") {
  for (const int64_t tokens : {1, 2, 3, 4, 8, 30, 300}) {
    const at::Tensor x = gaussian({4, tokens, 64}, 19);
    const Coded c = coded("groups:0.3", x);
    CAPTURE(tokens);
    CHECK(c.bytes.payload == 2.0 * static_cast<double>(x.numel()));
    CHECK(c.restored.equal(x.to(at::kHalf).to(at::kFloat)));
  }
}

TEST_CASE("[low_rank] arguments that are refused") {
  for (const char* method :
       {"svd",         "svd:0",        "svd:0.0",      "svd:1.0",        "svd:1.5",    "svd:-1",
        "svd:4:4",     "svd:x",        "svd:0.5x",     "svd:nan",        "pca",        "pca:0",
        "svd_joint:0", "svd_energy",   "svd_energy:3", "svd_energy:1.0", "tucker",     "tucker:8",
        "tucker:8:8",  "tucker:8:8:0", "tucker:0:8:8", "tucker:8:8:8:8", "tucker:1.0", "tucker:0.5:8:8",
        "groups",      "groups:1",     "groups:1.0"}) {
    CAPTURE(method);
    CHECK_THROWS_AS(parse_method(method), UsageError);
  }
  CHECK_THROWS_WITH_AS(
      parse_method("tucker:8:8"),
      "[tucker] got '8:8', expected three ranks of 1 or more, like tucker:8:64:32 (heads, tokens, "
      "channels), or a share of the bytes, like tucker:0.25",
      UsageError);
}

TEST_CASE("[low_rank] svd_joint in groups of heads: one head each is svd, and each group is alone") {
  const at::Tensor x = at::randn({5, 20, 6});
  CHECK(at::equal(coded("svd_joint:3:1", x).restored, coded("svd:3", x).restored));
  CHECK(coded("svd_joint:3:1", x).bytes.total() == coded("svd:3", x).bytes.total());
  CHECK(at::equal(coded("svd_joint:3:5", x).restored, coded("svd_joint:3", x).restored));
  const Coded pairs = coded("svd_joint:3:2", x);
  CHECK(at::equal(pairs.restored.narrow(0, 2, 2), coded("svd_joint:3", x.narrow(0, 2, 2)).restored));
  // Two pairs and a lone head: U S [20, 3] each, V' [12, 3], [12, 3] and [6, 3].
  CHECK(pairs.bytes.payload == 2 * 3 * 20 * 3);
  CHECK(pairs.bytes.metadata == 2 * (12 + 12 + 6) * 3);
  CHECK_THROWS_AS(parse_method("svd_joint:3:0"), UsageError);
  CHECK_THROWS_AS(parse_method("svd_joint:3:2:2"), UsageError);
}
