// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kvviz/eval/compare.hpp"
#include "kvviz/eval/simulate.hpp"
#include "kvviz/model/load.hpp"
#include "support/close.hpp"

using namespace kvviz;
using test::Tol;
namespace fs = std::filesystem;

namespace {

// scripts/fixtures/simulated_evictions.py: token by token in float64.
nlohmann::json expected() {
  std::ifstream in(fs::path(KVVIZ_FIXTURES) / "simulate/expected.json");
  return nlohmann::json::parse(in).at("cases");
}

kernels::Aggregate aggregate_of(const std::string& name) {
  return name == "max" ? kernels::Aggregate::max : kernels::Aggregate::mean;  // a sum orders keys as the mean
}

SimulationOptions options_of(const nlohmann::json& one) {
  SimulationOptions options;
  options.policy.aggregate = aggregate_of(one.at("aggregate"));
  options.positions = one.at("positions") == "cache" ? CachePositions::cache : CachePositions::original;
  options.prompt = one.at("prompt");
  options.score_from = one.at("score_from");
  return options;
}

void check_evictions(const SimulatedText& got, const nlohmann::json& want) {
  size_t set = 0;
  for (const auto& layer : want) {
    for (const auto& evictions : layer) {
      REQUIRE(set < got.sets.size());
      CAPTURE(set);
      // Within a step the order is free.
      auto of = evictions.get<std::vector<std::pair<int32_t, int32_t>>>();
      std::vector<std::pair<int32_t, int32_t>> ours;
      for (const auto& [step, position] : got.sets[set].log) ours.emplace_back(step, position);
      std::ranges::sort(of);
      std::ranges::sort(ours);
      CHECK(ours == of);
      ++set;
    }
  }
  CHECK(set == got.sets.size());
}

void check_heads(const SimulatedText& got, const nlohmann::json& want) {
  REQUIRE(got.heads.size() == want.size());
  for (size_t h = 0; h < want.size(); ++h) {
    CAPTURE(h);
    const SimulatedHead& head = got.heads[h];
    test::check_close(head.recall, want[h][0].get<double>(), Tol{.abs = 2e-6});
    test::check_close(head.bound, want[h][1].get<double>(), Tol{.abs = 2e-6});
    test::check_close(head.error, want[h][2].get<double>(), Tol{.abs = 1e-5});
    CHECK(head.demands == want[h][3].get<int64_t>());
    CHECK(head.hits == want[h][4].get<int64_t>());
  }
}

void check_loss(const QualityLoss& got, const nlohmann::json& want) {
  const auto check = [&](const std::string& name, double value) {
    CAPTURE(name);
    // Differences carry the rounding of what they are differences of.
    const double unit = name.starts_with("delta_ppl") ? got.ppl : 1;
    if (want.at(name).is_null())
      CHECK(value != value);
    else
      test::check_close(value, want.at(name).get<double>(), Tol{.abs = 2e-6 * unit, .rel = 2e-6});
  };
  check("nll", got.nll);
  check("delta_nll", got.delta_nll);
  check("delta_nll_se", got.delta_nll_se);
  check("delta_ppl", got.delta_ppl);
  check("delta_ppl_se", got.delta_ppl_se);
  check("kl", got.kl);
  CHECK(got.top1_agreement == doctest::Approx(want.at("top1_agreement").get<double>()).epsilon(1e-9));
}

}  // namespace

TEST_CASE("[simulate] decisions, recall, errors and losses equal a decoding in double, token by token") {
  const nlohmann::json cases = expected();
  REQUIRE(cases.size() == 6);
  for (const auto& one : cases) {
    const auto name = one.at("model").get<std::string>();
    CAPTURE(name);
    CAPTURE(one.at("positions").get<std::string>());
    CAPTURE(one.at("prompt").get<int64_t>());
    const LoadedModel model = load_model(fs::path(KVVIZ_FIXTURES) / "models" / name);
    const auto ids = one.at("ids").get<std::vector<int32_t>>();
    const SimulationOptions options = options_of(one);
    std::vector<Simulation> simulations;
    for (const auto& [policy, results] : one.at("policies").items())
      simulations.push_back({policy::find_policy(policy), {.tokens = one.at("budget").get<int64_t>()}});
    REQUIRE(simulations.size() == 8);
    const SimulationResult result = simulate(model.decoder, ids, simulations, options);
    std::vector<at::Tensor> hidden;
    for (const SimulatedText& text : result.texts) hidden.push_back(text.hidden);
    const auto scores = compare_predictions(model.decoder, result.full, hidden, ids);
    for (size_t i = 0; i < simulations.size(); ++i) {
      const std::string& policy = simulations[i].policy.name;
      CAPTURE(policy);
      const auto& want = one.at("policies").at(policy);
      check_evictions(result.texts[i], want.at("evictions"));
      check_heads(result.texts[i], want.at("heads"));
      check_loss(quality_loss(std::span(&scores[i], 1), options.score_from), want);
    }
  }
}
