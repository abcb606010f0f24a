// SPDX-License-Identifier: MIT
#include "kvviz/attention/device_attention.hpp"

#include <ATen/Context.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"
#include "unit/kernels/check_attention.hpp"

using namespace kvviz;
using kernels::AttentionRequest;
using test::AttentionCase;
using test::AttentionData;
using test::everything;

namespace {

std::vector<at::Device> devices() {
  std::vector<at::Device> all = {at::kCPU};
  if (at::hasCUDA()) all.emplace_back(at::kCUDA);
  if (at::hasMPS()) all.emplace_back(at::kMPS);
  return all;
}

at::Tensor tensor_of(const kernels::HeadsView& view, int64_t heads, int64_t tokens, int64_t head_dim) {
  return at::from_blob(const_cast<float*>(view.data), {1, heads, tokens, head_dim},
                       {0, view.head_stride, view.token_stride, 1}, at::kFloat);
}

std::vector<kernels::HeadAttention> attend(at::Device device, AttentionData& data,
                                           const AttentionRequest& request) {
  const kernels::AttentionProblem& p = data.problem();
  const AttentionSpec spec{.scale = p.scale,
                           .softcap = p.softcap,
                           .window = p.window,
                           .alibi_slopes = {p.alibi_slopes.begin(), p.alibi_slopes.end()},
                           .key_positions = p.key_positions};
  std::vector<kernels::HeadAttention> heads;
  const at::Tensor out = device_attention(
      tensor_of(p.q, p.query_heads, p.queries, p.head_dim), tensor_of(p.k, p.kv_heads, p.keys, p.head_dim),
      tensor_of(p.v, p.kv_heads, p.keys, p.head_dim), spec, request, device, &heads);
  tensor_of({p.out.data, p.out.head_stride, p.out.token_stride}, p.query_heads, p.queries, p.head_dim)
      .copy_(out);
  return heads;
}

void check(const AttentionCase& c, const AttentionRequest& request) {
  for (const at::Device device : devices()) {
    CAPTURE(device.str());
    test::check_against_reference(c, request, [&](AttentionData& data, const AttentionRequest& wanted) {
      return attend(device, data, wanted);
    });
  }
}

void check(const AttentionCase& c) {
  check(c, everything(c));
}

}  // namespace

TEST_CASE("[device attention] output and all statistics equal the double reference") {
  for (const int64_t tokens : {1, 2, 17, 64, 200, 513})
    check({.queries = tokens, .keys = tokens, .seed = static_cast<unsigned>(tokens)});
  for (const int64_t head_dim : {1, 3, 24, 128})
    check({.head_dim = head_dim,
           .queries = 70,
           .keys = 70,
           .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
           .gap = head_dim % 2 * 5});
  for (const int64_t kv_heads : {1, 2, 3})
    for (const int64_t queries : {1, 33, 70})
      check({.query_heads = 6, .kv_heads = kv_heads, .queries = queries, .keys = 70});
}

TEST_CASE("[device attention] windows, soft caps, ALiBi with keys missing") {
  for (const int64_t window : {1, 2, 63, 400, 1000})
    for (const int64_t queries : {1, 50, 400}) check({.queries = queries, .keys = 400, .window = window});
  for (const float softcap : {0.5F, 30.0F})
    check({.queries = 150, .keys = 150, .scale = 2, .softcap = softcap});
  for (const float slope : {0.5F, -0.02F}) {
    AttentionCase c{
        .query_heads = 6, .kv_heads = 2, .head_dim = 24, .queries = 50, .keys = 211, .alibi = slope};
    check(c);
    c.window = 37;
    check(c);
    c.softcap = 3;
    check(c);
    c.first_position = 5;
    c.gap = 3;
    check(c);
  }
  // Positions that f32 does not hold: only their difference is small.
  check({.queries = 60, .keys = 130, .scale = 0, .alibi = 0.25F, .first_position = 20'000'001});
}

TEST_CASE("[device attention] request fields change what they say") {
  const AttentionCase c{.queries = 160, .keys = 200};
  check(c, {.statistics = true, .first_keys = 0, .recent_queries = 0, .sampled_queries = 0});
  check(c, {.statistics = true, .first_keys = 999, .recent_queries = 999, .map_bins = 160});
  check(c, {.statistics = true, .map_bins = 1000, .sampled_queries = 1000});
  for (const int64_t early : {0, 1, 40, 41, 199, 500})
    for (const int64_t watched : {-1, 0, 199})
      check(c, {.statistics = true, .early_queries = early, .watched_key = watched});
}

TEST_CASE("[device attention] a long text is several blocks of queries") {
  for (const int64_t window : {0, 300}) {
    const AttentionCase c{
        .query_heads = 64, .kv_heads = 4, .head_dim = 4, .queries = 1000, .keys = 1100, .window = window};
    check(c, {.statistics = true,
              .recent_queries = 600,
              .early_queries = 650,
              .watched_key = 500,
              .heaviest_keys = 3,
              .map_bins = 24,
              .exact_heads = {63}});
  }
}

TEST_CASE("[device attention] a key that is not finite makes NaN of the queries that see it, of no others") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const AttentionRequest request{.statistics = true, .heaviest_keys = 2};
  const auto check_rows = [](const std::vector<kernels::HeadAttention>& heads, const AttentionData& data) {
    for (size_t i = 0; i < 80; ++i) {
      for (const auto& row : {heads[0].entropy, heads[0].distance, heads[0].sink_mass, heads[0].small_share,
                              heads[0].heaviest_mass})
        CHECK(std::isnan(row[i]) == (i >= 50));
      CHECK(std::isnan(data.out[i * 16]) == (i >= 50));
    }
    CHECK(std::isnan(heads[0].top_mass[0]));
  };
  for (const float softcap : {0.0F, 20.0F}) {
    for (const float bad : {nan, inf, -inf}) {
      AttentionData data(AttentionCase{.queries = 80, .keys = 80, .softcap = softcap});
      data.k[50 * 16] = bad;
      check_rows(attend(at::kCPU, data, request), data);
      check_rows(test::by_kernels(data, request), data);
    }
  }
}

TEST_CASE(
    "[device attention] streaming attention goes to the device that its layer names, but for few queries") {
  // A device without data: what is computed there cannot come back.
  const at::Tensor x = at::randn({1, 2, 40, 8});
  const AttentionSpec spec{.scale = 0.3, .device = at::kMeta};
  CHECK_THROWS(streaming_attention(x, x, x, spec, {}, nullptr));
  CHECK(streaming_attention(x.narrow(2, 39, 1), x, x, spec, {}, nullptr)
            .equal(streaming_attention(x.narrow(2, 39, 1), x, x, {.scale = 0.3}, {}, nullptr)));
  CHECK_THROWS_AS(device_attention(x, x, x, {}, {.statistics = true, .exact_heads = {2}}, at::kCPU, nullptr),
                  UsageError);
}
