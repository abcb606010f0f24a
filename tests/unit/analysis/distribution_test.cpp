// SPDX-License-Identifier: MIT
#include "kvviz/analysis/distribution.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

std::vector<double> magnitudes(const at::Tensor& x) {
  std::vector<double> values = test::elements(x);
  for (double& value : values) value = std::fabs(value);
  std::ranges::sort(values);
  return values;
}

}  // namespace

TEST_CASE("[distribution] counts, zeros and quantiles agree with a sort") {
  KvCache cache = test::gaussian_cache({{2, 60, 8}, {1, 60, 8}}, 1);
  cache.layers[1].key.data_ptr<float>()[7] = 0;
  const DistributionResult result = distribution(cache.view(), {});
  const std::vector<double>& edges = result.log_edges;
  CHECK(edges[1] - edges[0] == doctest::Approx(0.1));
  for (size_t l = 0; l < 2; ++l) {
    const std::vector<double> sorted = magnitudes(cache.layers[l].key);
    const LayerDistribution& got = result.key[l];
    CHECK(got.layer == static_cast<int>(l));
    CHECK(got.elements == std::ssize(sorted));
    CHECK(got.zeros == (l == 1 ? 1 : 0));
    std::vector<int64_t> want(edges.size() - 1, 0);
    for (const double magnitude : sorted) {
      if (magnitude == 0) continue;
      const auto bin = std::ranges::upper_bound(edges, std::log10(magnitude)) - edges.begin() - 1;
      REQUIRE(bin >= 0);
      REQUIRE(bin < std::ssize(want));
      ++want[bin];
    }
    CHECK(got.counts == want);
    REQUIRE(got.quantiles.size() == result.probabilities.size());
    for (size_t p = 0; p < got.quantiles.size(); ++p) {
      const auto index =
          static_cast<size_t>(std::ceil(result.probabilities[p] * static_cast<double>(sorted.size()) - 1e-9));
      CHECK(got.quantiles[p] == sorted[std::max<size_t>(index, 1) - 1]);
    }
    CHECK(got.quantiles.back() == sorted.back());
  }
}

TEST_CASE("[distribution] the legacy histogram pools all layers from the least to the largest magnitude") {
  const KvCache cache = test::gaussian_cache({{2, 60, 8}, {1, 60, 8}}, 2);
  const DistributionResult result = distribution(cache.view(), {});
  std::vector<double> all = magnitudes(cache.layers[0].value);
  const std::vector<double> more = magnitudes(cache.layers[1].value);
  all.insert(all.end(), more.begin(), more.end());
  const LegacyHistogram& histogram = result.legacy_value;
  REQUIRE(histogram.counts.size() == 50);
  REQUIRE(histogram.edges.size() == 51);
  CHECK(histogram.edges.front() == *std::ranges::min_element(all));
  CHECK(histogram.edges.back() == *std::ranges::max_element(all));
  std::vector<int64_t> want(50, 0);
  for (const double magnitude : all) {
    int64_t bin = 0;
    while (bin < 49 && magnitude >= histogram.edges[bin + 1]) ++bin;
    ++want[bin];
  }
  CHECK(histogram.counts == want);
  CHECK(std::accumulate(want.begin(), want.end(), int64_t{0}) == 3 * 60 * 8);
  check_close(result.thresholds.v, 0.01 * histogram.edges.back(), Tol{.rel = 1e-15});
}

TEST_CASE("[distribution] a cache of zeros") {
  KvCache cache = test::gaussian_cache({{2, 5, 3}}, 3);
  cache.layers[0].key.zero_();
  cache.layers[0].value.zero_();
  const DistributionResult result = distribution(cache.view(), {});
  CHECK(result.log_edges.empty());
  CHECK(result.key[0].counts.empty());
  CHECK(result.key[0].zeros == 30);
  CHECK(result.key[0].quantiles == std::vector<double>(result.probabilities.size(), 0.0));
  CHECK(std::accumulate(result.legacy_key.counts.begin(), result.legacy_key.counts.end(), int64_t{0}) == 30);
}

TEST_CASE("[distribution] every option changes the bins") {
  const KvCache cache = test::gaussian_cache({{1, 20, 4}}, 4);
  DistributionOptions options;
  options.bins_per_decade = 2;
  options.legacy_bins = 7;
  const DistributionResult result = distribution(cache.view(), options);
  CHECK(result.log_edges[1] - result.log_edges[0] == 0.5);
  CHECK(result.legacy_key.counts.size() == 7);
}
