// SPDX-License-Identifier: MIT
#include "unit/kernels/check_attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace kvviz::test {
namespace {

// The largest |got - want| / (absolute + relative |want|); above 1 is wrong. Infinite when a size or a value
// is not comparable.
template <class Got>
double deviation(const std::vector<Got>& got, const std::vector<double>& want, double absolute,
                 double relative) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d =
        std::abs(static_cast<double>(got[i]) - want[i]) / (absolute + relative * std::abs(want[i]));
    if (!(d <= worst)) worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return worst;
}

}  // namespace

std::vector<kernels::HeadAttention> by_kernels(AttentionData& data,
                                               const kernels::AttentionRequest& request) {
  return kernels::attention(data.problem(), request);
}

kernels::AttentionRequest everything(const AttentionCase& c) {
  kernels::AttentionRequest request{.statistics = true,
                                    .early_queries = c.keys - c.queries / 2,
                                    .watched_key = c.keys / 3,
                                    .heaviest_keys = 5,
                                    .map_bins = 7};
  for (int64_t h = 0; h < c.query_heads; h += 2) request.exact_heads.push_back(h);
  return request;
}

void check_against_reference(const AttentionCase& c, const kernels::AttentionRequest& request,
                             const Attend& attend) {
  CAPTURE(c.query_heads);
  CAPTURE(c.head_dim);
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.window);
  CAPTURE(c.softcap);
  CAPTURE(c.alibi);
  AttentionData data(c);
  const kernels::AttentionProblem& p = data.problem();
  const std::vector<kernels::HeadAttention> heads = attend(data, request);
  REQUIRE(heads.size() == static_cast<size_t>(c.query_heads));
  for (int64_t h = 0; h < c.query_heads; ++h) {
    CAPTURE(h);
    const ReferenceHead want = reference_head(p, request, h);
    const kernels::HeadAttention& got = heads[static_cast<size_t>(h)];
    std::vector<float> out;
    for (int64_t i = 0; i < c.queries; ++i)
      out.insert(out.end(), p.out.at(h, i), p.out.at(h, i) + c.head_dim);
    // Weights are exp of f32 logits: relative errors of about 1e-6 times the size of a logit (here below 30).
    CHECK(deviation(out, want.out, 2e-5, 0) <= 1);
    CHECK(deviation(got.key_mass, want.key_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.recent_mass, want.recent_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.early_mass, want.early_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.entropy, want.entropy, 2e-5, 1e-5) <= 1);
    CHECK(deviation(got.distance, want.distance, 1e-5, 2e-5) <= 1);
    CHECK(deviation(got.first_mass, want.first_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.sink_mass, want.sink_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.self_mass, want.self_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.watched_mass, want.watched_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.heaviest_mass, want.heaviest_mass, 1e-7, 2e-5) <= 1);
    CHECK(deviation(got.top_mass, want.top_mass, 1e-7, 1e-5) <= 1);
    CHECK(deviation(got.map, want.map, 1e-7, 2e-5) <= 1);
    int64_t outside = 0;
    for (size_t i = 0; i < want.small_low.size(); ++i) {
      outside += !(got.small_share[i] >= want.small_low[i] - 1e-6 &&
                   got.small_share[i] <= want.small_high[i] + 1e-6);
    }
    CHECK(outside == 0);
    const bool asked = std::count(request.exact_heads.begin(), request.exact_heads.end(), h) > 0;
    if (asked) CHECK(deviation(got.exact, want.weights, 1e-8, 2e-5) <= 1);
    if (!asked) CHECK(got.exact.empty());
    CHECK(std::accumulate(got.key_mass.begin(), got.key_mass.end(), 0.0) ==
          doctest::Approx(static_cast<double>(c.queries)).epsilon(1e-6));
  }
  for (int64_t row = 0; row < c.query_heads * c.queries; ++row) {
    for (int64_t g = 0; g < c.gap; ++g) {
      REQUIRE(data.out[static_cast<size_t>(row * (c.head_dim + c.gap) + c.head_dim + g)] == -7.0F);
    }
  }
}

}  // namespace kvviz::test
