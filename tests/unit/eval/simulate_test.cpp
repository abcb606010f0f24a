// SPDX-License-Identifier: MIT
#include "kvviz/eval/simulate.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/evicting_session.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/rope.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";
constexpr int64_t tokens = 32;

std::vector<int32_t> text(const ModelConfig& config, int64_t count = tokens) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 5 + 3) % config.vocabulary));
  return ids;
}

std::vector<Simulation> every_policy(const std::string& budget) {
  std::vector<Simulation> all;
  for (const auto& info : policy::policies())
    all.push_back({policy::find_policy(info.name), policy::parse_budget(budget)});
  all.push_back({policy::find_policy("adakv:h2o"), policy::parse_budget(budget)});
  return all;
}

SimulationOptions small_options() {
  SimulationOptions options;
  options.policy.observation = 4;
  options.policy.kernel = 3;
  options.policy.lag = 4;
  options.policy.refresh = 4;
  options.policy.future = 16;
  return options;
}

/// [sets][tokens][tokens]: whether the step attended to the key, by the eviction log.
std::vector<std::vector<std::vector<bool>>> attended(const SimulatedText& run, int layer, int64_t window) {
  std::vector<std::vector<std::vector<bool>>> sets;
  for (const SimulatedSet& set : run.sets) {
    if (set.layer != layer) continue;
    auto& steps = sets.emplace_back(tokens, std::vector<bool>(tokens));
    std::vector<int64_t> last(tokens, tokens - 1);
    for (const auto& [step, position] : set.log) last[static_cast<size_t>(position)] = step;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t p = 0; p <= t; ++p) steps[t][p] = last[p] >= t && (window == 0 || t - p < window);
  }
  return sets;
}

/// One query at a time over the keys of the log; with cache positions, everything rotated to its rank, and
/// ALiBi by rank.
at::Tensor by_log(const Decoder& decoder, std::span<const int32_t> ids, const SimulatedText& run,
                  CachePositions positions) {
  const at::Tensor input = at::empty({1, std::ssize(ids)}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  const RopeConfig& rope = decoder.config().rope;
  const bool by_rank = positions == CachePositions::cache;
  const bool rotates = by_rank && decoder.config().position == PositionKind::rope;
  const auto attend = [&](const LayerQkv& x) {
    const auto sets = attended(run, x.layer, x.spec.window);
    const int64_t heads = x.query.size(1), kv_heads = x.key.size(1);
    const at::Tensor out = at::zeros({1, heads, tokens, x.query.size(3)});
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kv = h / (heads / kv_heads);
      const auto& seen = sets[static_cast<size_t>(h * std::ssize(sets) / heads)];
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<at::Tensor> keys, values;
        std::vector<int64_t> places;
        for (int64_t p = 0; p <= t; ++p) {
          if (!seen[t][p]) continue;
          at::Tensor key = x.key[0][kv][p];
          if (rotates) {
            const RopeTable at_rank = rope_table(rope, std::ssize(keys), 1, tokens);
            key = rotate(x.key_pre_rope[0][kv][p].view({1, 1, 1, -1}), at_rank, rope).flatten();
          }
          places.push_back(by_rank ? std::ssize(keys) : p);
          keys.push_back(key);
          values.push_back(x.value[0][kv][p]);
        }
        at::Tensor query = x.query[0][h][t];
        if (rotates) {
          const RopeTable at_rank = rope_table(rope, std::ssize(keys) - 1, 1, tokens);
          query = rotate(x.query_pre_rope[0][h][t].view({1, 1, 1, -1}), at_rank, rope).flatten();
        }
        const at::Tensor logits = at::matmul(at::stack(keys), query).mul(x.spec.scale);
        for (size_t j = 0; j < places.size() && !x.spec.alibi_slopes.empty(); ++j)
          logits[static_cast<int64_t>(j)] +=
              static_cast<double>(x.spec.alibi_slopes[static_cast<size_t>(h)]) *
              static_cast<double>(places[j] - places.back());
        out[0][h][t].copy_(
            at::matmul(at::softmax(logits.to(at::kDouble), 0).to(at::kFloat), at::stack(values)));
      }
    }
    return out;
  };
  return decoder.hidden(input, {}, attend)[0];
}

}  // namespace

TEST_CASE("[simulate] every policy computes what its own eviction log says") {
  for (const char* name :
       {"llama_gqa", "gpt2", "mistral", "bloom_6_heads", "llama_dynamic_rope", "phi3_longrope"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const auto all = every_policy("5");
    for (const int64_t prompt : {int64_t{0}, int64_t{16}}) {
      SimulationOptions options = small_options();
      options.prompt = prompt;
      const SimulationResult result = simulate(model.decoder, ids, all, options);
      const at::NoGradGuard no_grad;
      for (size_t i = 0; i < all.size(); ++i) {
        CAPTURE(all[i].policy.name);
        const SimulatedText& run = result.texts[i];
        test::check_near(run.hidden, by_log(model.decoder, ids, run, options.positions), 2e-5);
        if (all[i].policy.name != "full") CHECK_FALSE(run.hidden.equal(result.full));
        for (const SimulatedHead& head : run.heads) {
          CHECK(head.recall <= head.bound + 1e-6);
          CHECK(head.bound <= 1 + 1e-6);
          CHECK(head.hits <= head.demands);
        }
      }
    }
  }
}

TEST_CASE("[simulate] cache positions turn keys and query to their ranks") {
  for (const char* name : {"llama_gqa", "mistral", "mpt"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    const auto all = every_policy("5");
    SimulationOptions options = small_options();
    options.positions = CachePositions::cache;
    const SimulationResult result = simulate(model.decoder, ids, all, options);
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < all.size(); ++i) {
      CAPTURE(all[i].policy.name);
      test::check_near(result.texts[i].hidden, by_log(model.decoder, ids, result.texts[i], options.positions),
                       5e-5);
    }
  }
  const LoadedModel learned = load_model(models / "gpt2");
  SimulationOptions options;
  options.positions = CachePositions::cache;
  CHECK_THROWS_AS(simulate(learned.decoder, text(learned.decoder.config()), {}, options), UsageError);
}

TEST_CASE("[simulate] a budget of the whole text is the full cache, bit for bit") {
  for (const char* name : {"llama_gqa", "gpt2", "mistral", "bloom"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    for (const char* budget : {"32", "1.0", "100"}) {
      for (const auto positions : {CachePositions::original, CachePositions::cache}) {
        if (positions == CachePositions::cache && std::string(name) == "gpt2") continue;
        SimulationOptions options = small_options();
        options.positions = positions;
        const auto all = every_policy(budget);
        const SimulationResult result = simulate(model.decoder, ids, all, options);
        CHECK(simulate(model.decoder, ids, {}, options).full.equal(result.full));
        for (size_t i = 0; i < all.size(); ++i) {
          CAPTURE(all[i].policy.name);
          CHECK(result.texts[i].hidden.equal(result.full));
          for (const SimulatedHead& head : result.texts[i].heads) {
            CHECK(head.recall == doctest::Approx(1).epsilon(1e-6));
            CHECK(head.error == 0);
            CHECK(head.hits == head.demands);
          }
        }
      }
    }
  }
}

TEST_CASE("[simulate] layer by layer is token by token") {
  for (const char* name : {"llama_gqa", "gpt2", "mpt"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name);
    const auto ids = text(model.decoder.config());
    for (const auto positions : {CachePositions::original, CachePositions::cache}) {
      if (positions == CachePositions::cache && std::string(name) == "gpt2") continue;
      for (const bool per_query_head : {false, true}) {
        SimulationOptions options = small_options();
        options.positions = positions;
        options.policy.per_query_head = per_query_head;
        const auto all = every_policy("0.3");
        const SimulationResult result = simulate(model.decoder, ids, all, options);
        for (size_t i = 0; i < all.size(); ++i) {
          if (all[i].policy.info.clairvoyant) continue;
          CAPTURE(all[i].policy.name);
          EvictingSession session(model.decoder, all[i], options, tokens);
          std::vector<at::Tensor> hidden;
          for (const int32_t id : ids) hidden.push_back(session.extend(std::span(&id, 1)));
          test::check_near(at::cat(hidden), result.texts[i].hidden, 5e-5);
          const auto sets = session.sets();
          REQUIRE(sets.size() == result.texts[i].sets.size());
          for (size_t s = 0; s < sets.size(); ++s) {
            CHECK(sets[s].kept == result.texts[i].sets[s].kept);
            CHECK(sets[s].peak == result.texts[i].sets[s].peak);
          }
        }
      }
    }
  }
}

TEST_CASE("[simulate] neither threads nor neighbours change a result; little memory neither") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(model.decoder.config());
  const auto all = every_policy("12");
  SimulationOptions options = small_options();
  const SimulationResult together = simulate(model.decoder, ids, all, options);
  const int threads = kernels::thread_count();
  kernels::set_thread_count(1);
  options.memory = 1;
  const SimulationResult alone = simulate(model.decoder, ids, all, options);
  kernels::set_thread_count(threads);
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(all[i].policy.name);
    CHECK(alone.texts[i].hidden.equal(together.texts[i].hidden));
    for (size_t s = 0; s < alone.texts[i].sets.size(); ++s)
      CHECK(alone.texts[i].sets[s].kept == together.texts[i].sets[s].kept);
  }
  REQUIRE(alone.keys.size() == together.keys.size());
  for (size_t s = 0; s < alone.keys.size(); ++s) {
    double mass = 0;
    for (const double x : alone.keys[s].mass) mass += x;
    CHECK(mass == doctest::Approx(tokens).epsilon(1e-5));
    CHECK(alone.keys[s].mass == together.keys[s].mass);
    CHECK(alone.keys[s].reads == together.keys[s].reads);
  }
}

TEST_CASE("[simulate] counts: every eviction once, sets of the budget, errors that say why") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const auto ids = text(model.decoder.config());
  const auto all = every_policy("10");
  const SimulationResult result = simulate(model.decoder, ids, all, small_options());
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(all[i].policy.name);
    const bool full = all[i].policy.name == "full";
    for (const SimulatedSet& set : result.texts[i].sets) {
      CHECK(std::ssize(set.log) + std::ssize(set.kept) == tokens);
      if (full) CHECK(set.log.empty());
      if (full || all[i].policy.info.pyramid || all[i].policy.name.starts_with("adakv")) continue;
      CHECK(std::ssize(set.kept) == 10);
      CHECK(set.peak == 11);
    }
  }
  SimulationOptions options;
  options.prompt = tokens + 1;
  CHECK_THROWS_AS(simulate(model.decoder, ids, all, options), UsageError);
  CHECK_THROWS_AS(
      EvictingSession(model.decoder, {policy::find_policy("oracle"), policy::parse_budget("4")}, {}, 8),
      UsageError);
}
