// SPDX-License-Identifier: MIT
// The original tool's numbers for a closed-form cache (the fixture names its formulas): every table of the
// analyses.
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "support/close.hpp"
#include "unit/analysis/caches.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using kvviz::test::check_close;
using kvviz::test::Tol;
using Json = nlohmann::json;

namespace {

// The original computed in f32; agreed with it beforehand.
constexpr Tol kTol{.abs = 1e-5};

const Json& fixture() {
  static const Json json = [] {
    std::ifstream file(std::string(KVVIZ_REFDATA) + "/kv_cache_visualization_fixture.json");
    REQUIRE_MESSAGE(file.good(), "the parity fixture is missing in " KVVIZ_REFDATA);
    return Json::parse(file);
  }();
  return json;
}

LegacyOptions fixed() {
  return {.threshold = 0.25};
}

HeadsResult heads_of(const KvCache& cache) {
  HeadsOptions options;
  options.legacy = fixed();
  return heads(cache.view(), options);
}

ChannelsResult channels_of(const KvCache& cache) {
  ChannelsOptions options;
  options.legacy = fixed();
  return channels(cache.view(), options);
}

void check_stats(const LegacyStats& k, const LegacyStats& v, const Json& want) {
  check_close(k.sparsity, want["k_sparsity"].get<double>(), kTol);
  check_close(v.sparsity, want["v_sparsity"].get<double>(), kTol);
  check_close(k.mean, want["k_mean"].get<double>(), kTol);
  check_close(v.mean, want["v_mean"].get<double>(), kTol);
  check_close(k.std, want["k_std"].get<double>(), kTol);
  check_close(v.std, want["v_std"].get<double>(), kTol);
}

}  // namespace

TEST_CASE("[legacy] automatic thresholds" * doctest::test_suite("refdata")) {
  const KvCache cache = test::closed_form_cache();
  const LegacyThresholds got = legacy_thresholds(cache.view(), {});
  const Json& want = fixture()["auto_threshold"];
  const Tol tight{.rel = 1e-7};  // one rounding to f32
  check_close(got.k, want["k"].get<double>(), tight);
  check_close(got.v, want["v"].get<double>(), tight);
  check_close(got.k_max, want["k_max"].get<double>(), tight);
  check_close(got.v_max, want["v_max"].get<double>(), tight);
}

TEST_CASE("[legacy] layers, correlation, prunable layers, memory" * doctest::test_suite("refdata")) {
  const KvCache cache = test::closed_form_cache();
  LayersOptions options;
  options.legacy = fixed();
  options.prunable = 0.2;
  const LayersResult got = layers(cache.view(), options);
  const Json& want = fixture()["layers"];
  REQUIRE(want.size() == 3);
  REQUIRE(got.rows.size() == 3);
  for (size_t l = 0; l < 3; ++l) {
    CHECK(got.rows[l].layer == want[l]["layer"]);
    check_stats(got.rows[l].key.legacy, got.rows[l].value.legacy, want[l]);
    check_close(got.rows[l].legacy_kv_correlation, want[l]["kv_correlation"].get<double>(), kTol);
  }
  CHECK(got.legacy_prunable == fixture()["prunable_layers_thr0.2"].get<std::vector<int>>());
}

TEST_CASE("[legacy] heads and their consistency" * doctest::test_suite("refdata")) {
  const HeadsResult got = heads_of(test::closed_form_cache());
  const Json& want = fixture()["heads"];
  REQUIRE(want.size() == 6);
  REQUIRE(got.rows.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(got.rows[i].layer == want[i]["layer"]);
    CHECK(got.rows[i].head == want[i]["head"]);
    check_stats(got.rows[i].key.legacy, got.rows[i].value.legacy, want[i]);
  }
  const Json& consistency = fixture()["head_consistency"];
  REQUIRE(consistency.size() == 2);
  REQUIRE(got.legacy_consistency.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const LegacyHeadConsistency& row = got.legacy_consistency[i];
    CHECK(row.head == consistency[i]["head"]);
    check_close(row.k_sparsity_mean, consistency[i]["k_sparsity_mean"].get<double>(), kTol);
    check_close(row.k_sparsity_std, consistency[i]["k_sparsity_std"].get<double>(), kTol);
    check_close(row.v_sparsity_mean, consistency[i]["v_sparsity_mean"].get<double>(), kTol);
    check_close(row.v_sparsity_std, consistency[i]["v_sparsity_std"].get<double>(), kTol);
  }
}

TEST_CASE("[legacy] channels per head" * doctest::test_suite("refdata")) {
  const ChannelsResult got = channels_of(test::closed_form_cache());
  const Json& want = fixture()["dims_first4"];
  REQUIRE(want.size() == 4);
  for (size_t d = 0; d < 4; ++d) check_stats(got.rows[0].key.legacy[d], got.rows[0].value.legacy[d], want[d]);
}

TEST_CASE("[legacy] dimensions, importance" * doctest::test_suite("refdata")) {
  const LegacyChannels got = channels_of(test::closed_form_cache()).legacy;
  const Json& dims = fixture()["embedding_dims"];
  REQUIRE(dims.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    check_close(got.dimensions[i].k_sparsity, dims[i]["k_sparsity"].get<double>(), kTol);
    check_close(got.dimensions[i].v_sparsity, dims[i]["v_sparsity"].get<double>(), kTol);
    check_close(got.dimensions[i].overall_sparsity, dims[i]["overall_sparsity"].get<double>(), kTol);
  }
  using Table = std::vector<std::vector<double>>;
  check_close(got.k_importance, fixture()["embedding_importance_k"].get<Table>(), kTol);
}

TEST_CASE("[legacy] tokens, token by layer, importance" * doctest::test_suite("refdata")) {
  const KvCache cache = test::closed_form_cache();
  TokensOptions options;
  options.legacy = fixed();
  const TokensResult got = tokens(cache.view(), options);
  const Json& want = fixture()["tokens"];
  REQUIRE(want.size() == 6);
  REQUIRE(got.rows.size() == 6);
  for (size_t t = 0; t < 6; ++t) {
    const TokenRow& row = got.rows[t];
    CHECK(row.token == want[t]["token_position"]);
    CHECK(row.layers == 3);
    check_close(row.legacy_k_sparsity, want[t]["avg_k_sparsity"].get<double>(), kTol);
    check_close(row.legacy_v_sparsity, want[t]["avg_v_sparsity"].get<double>(), kTol);
    check_close(row.legacy_k_magnitude, want[t]["avg_k_magnitude"].get<double>(), kTol);
    check_close(row.legacy_v_magnitude, want[t]["avg_v_magnitude"].get<double>(), kTol);
  }
  using Vector = std::vector<double>;
  for (size_t l = 0; l < 3; ++l) {
    check_close(got.layers[l].legacy_k_sparsity, fixture()["token_layer_k"][l].get<Vector>(), kTol);
    check_close(got.layers[l].legacy_v_sparsity, fixture()["token_layer_v"][l].get<Vector>(), kTol);
  }
  const Json& importance = fixture()["token_importance"];
  REQUIRE(importance.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    const TokenRow& row = got.rows[importance[i]["token_position"].get<size_t>()];
    check_close(row.legacy_k_norm, importance[i]["avg_k_norm"].get<double>(), kTol);
    check_close(row.legacy_v_norm, importance[i]["avg_v_norm"].get<double>(), kTol);
    check_close(row.legacy_energy, importance[i]["attention_energy"].get<double>(), kTol);
    check_close(row.legacy_k_norm_normalized, importance[i]["avg_k_norm_normalized"].get<double>(), kTol);
    check_close(row.legacy_v_norm_normalized, importance[i]["avg_v_norm_normalized"].get<double>(), kTol);
    check_close(row.legacy_energy_normalized, importance[i]["attention_energy_normalized"].get<double>(),
                kTol);
    check_close(row.legacy_importance, importance[i]["importance_score"].get<double>(), kTol);
  }
}
