// SPDX-License-Identifier: MIT
#include "kvviz/compress/hadamard.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <random>

#include "support/close.hpp"
#include "support/errors.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using namespace kvviz::test;

namespace {

std::vector<float> rotated(const std::vector<float>& x, int64_t channels) {
  std::vector<float> out(x.size());
  compress::hadamard({x.data(), out.data(), static_cast<int64_t>(x.size()) / channels, channels});
  return out;
}

}  // namespace

TEST_CASE("[hadamard] the matrix is (-1)^popcount(i & j) / sqrt(d), so it is orthonormal and symmetric") {
  for (const int64_t channels : {1, 2, 16, 64, 128}) {
    CAPTURE(channels);
    const auto d = static_cast<size_t>(channels);
    std::vector<float> identity(d * d, 0.0F);
    for (size_t i = 0; i < d; ++i) identity[i * d + i] = 1;
    std::vector<double> want(d * d);
    for (size_t i = 0; i < d; ++i)
      for (size_t j = 0; j < d; ++j)
        want[i * d + j] = (std::popcount(i & j) % 2 == 0 ? 1 : -1) / std::sqrt(static_cast<double>(d));
    check_close(rotated(identity, channels), want, {.rel = 1e-7});
  }
}

TEST_CASE("[hadamard] is its own inverse and keeps the norm, for any number of tokens and in place") {
  for (const int64_t tokens : {1, 15, 16, 50}) {
    const at::Tensor x = cache_like({1, tokens, 64}, 17);
    const auto in = numbers(x);
    auto once = rotated(in, 64);
    double before = 0, after = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      before += static_cast<double>(in[i]) * in[i];
      after += static_cast<double>(once[i]) * once[i];
    }
    check_close(after, before, {.rel = 1e-6});
    compress::hadamard({once.data(), once.data(), tokens, 64});
    check_close(once, in, {.abs = 1e-4});  // six additions of numbers up to a few hundred, twice
  }
}

TEST_CASE("[hadamard] around the identity loses nothing but roundings") {
  const at::Tensor x = cache_like({2, 100, 128}, 18);
  check_close(numbers(code("hadamard:f32", x).restored), numbers(x), {.abs = 1e-4});
}

TEST_CASE("[hadamard] an outlier channel costs less behind the rotation") {
  std::mt19937 random(21);
  std::normal_distribution<float> normal;
  at::Tensor x = at::empty({2, 256, 64}, at::kFloat);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = normal(random);
  x.select(2, 7).mul_(30);
  for (const std::string method : {"rtn_token:4", "rtn_token:2", "q4_0"}) {
    CAPTURE(method);
    CHECK(squared_error(code("hadamard:" + method, x).restored, x) <
          0.5 * squared_error(code(method, x).restored, x));
  }
}

TEST_CASE("[hadamard] refuses a head_dim that is no power of two, and no method") {
  const at::Tensor x = cache_like({1, 4, 80}, 19);
  CHECK(holds(message_of<UsageError>([&] { code("hadamard:q8_0", x); }), "got 80 channels"));
  CHECK(holds(message_of<UsageError>([] { compress::parse_method("hadamard"); }), "hadamard:METHOD"));
  CHECK(holds(message_of<UsageError>([] { compress::parse_method("hadamard:nothing"); }), "'nothing'"));
}
