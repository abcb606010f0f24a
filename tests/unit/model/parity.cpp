// SPDX-License-Identifier: MIT
#include "parity.hpp"

#include <ATen/ops/empty.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "support/fixture.hpp"

namespace kvviz::test {
namespace {

const std::filesystem::path models = std::filesystem::path(KVVIZ_FIXTURES) / "models";

at::Tensor exact_attention(const std::vector<kernels::HeadAttention>& heads, int64_t tokens) {
  at::Tensor all = at::empty({static_cast<int64_t>(heads.size()), tokens, tokens});
  for (size_t h = 0; h < heads.size(); ++h) {
    REQUIRE(heads[h].exact.size() == static_cast<size_t>(tokens * tokens));
    std::copy(heads[h].exact.begin(), heads[h].exact.end(), all[static_cast<int64_t>(h)].data_ptr<float>());
  }
  return all;
}

void worst(double& so_far, const at::Tensor& got, const at::Tensor& want) {
  so_far = std::max(so_far, deviation(got.cpu(), want));
}

void compare_cache(double& so_far, const Session& session, const Expected& expected,
                   const std::string& steps = "") {
  const KvCache cache = session.cache(session.tokens());
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    worst(so_far, cache.layers[l].key, expected.tensor(cat(steps, "key.", l)));
    worst(so_far, cache.layers[l].value, expected.tensor(cat(steps, "value.", l)));
  }
}

void measure_prefill(const Decoder& decoder, const Expected& expected, Parity& parity) {
  const auto ids = expected.ids();
  const auto tokens = std::ssize(ids);
  Session session(decoder);
  Session::Watch watch;
  watch.attention.statistics = true;
  for (int64_t h = 0; h < decoder.config().layers.front().heads; ++h)
    watch.attention.exact_heads.push_back(h);
  int layers = 0;
  watch.on_attention = [&](int layer, const std::vector<kernels::HeadAttention>& heads) {
    worst(parity.attention, exact_attention(heads, tokens), expected.tensor(cat("attention.", layer)));
    ++layers;
  };
  watch.probe = [&](Site site, int layer, const at::Tensor& x) {
    if (site == Site::layer_out) worst(parity.layer_out, x[0], expected.tensor(cat("hidden.", layer)));
  };
  const at::Tensor hidden = session.extend(ids, watch);
  CHECK(layers == std::ssize(decoder.config().layers));
  worst(parity.logits, decoder.logits(hidden), expected.tensor("logits"));
  compare_cache(parity.keys_values, session, expected);
}

void measure_steps(const Decoder& decoder, const Expected& expected, const std::string& names,
                   Parity& parity) {
  const auto ids = expected.ids();
  const at::Tensor logits = expected.tensor(names + "logits");
  Session session(decoder);
  for (size_t i = 0; i < ids.size(); ++i) {
    int fired = 0;
    Session::Watch watch;
    watch.probe = [&](Site, int, const at::Tensor&) { ++fired; };
    const at::Tensor hidden = session.extend(std::span(ids).subspan(i, 1), watch);
    CHECK(fired == 6 * static_cast<int>(decoder.config().layers.size()));  // every site, as in prefill
    worst(parity.steps, decoder.logits(hidden)[0], logits[static_cast<int64_t>(i)]);
  }
  compare_cache(parity.steps, session, expected, names);
}

}  // namespace

std::vector<ModelFixture> model_fixtures() {
  std::vector<ModelFixture> all;
  const auto manifest = nlohmann::json::parse(std::ifstream(models / "manifest.json"));
  for (const auto& entry : manifest.at("fixtures"))
    all.push_back({.name = entry.at("name"),
                   .family = entry.at("family"),
                   .architecture = entry.at("architecture"),
                   .checks = entry.at("checks"),
                   .length_dependent_rope = entry.value("length_dependent_rope", false)});
  return all;
}

Parity measure_parity(const ModelFixture& fixture, at::Device device) {
  const LoadedModel model = load_model(models / fixture.name, {.device = device});
  const Expected expected(models / fixture.name / "expected.safetensors");
  Parity parity;
  measure_prefill(model.decoder, expected, parity);
  measure_steps(model.decoder, expected, fixture.length_dependent_rope ? "steps." : "", parity);
  return parity;
}

std::string parity_table(const std::vector<ModelFixture>& fixtures, const std::vector<Parity>& measured) {
  const auto number = [](double x) { return fmt::format("{:.0e}", x); };
  std::string table =
      "| family | checkpoint | what it checks | logits | K, V | attention | step by step |\n"
      "|---|---|---|---|---|---|---|\n";
  for (size_t i = 0; i < fixtures.size(); ++i)
    table += cat("| ", fixtures[i].family, " | `", fixtures[i].name, "` | ", fixtures[i].checks, " | ",
                 number(measured[i].logits), " | ", number(measured[i].keys_values), " | ",
                 number(measured[i].attention), " | ", number(measured[i].steps), " |\n");
  return table;
}

}  // namespace kvviz::test
