// SPDX-License-Identifier: MIT
#include "kvviz/analysis/cache_profile.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "kvviz/core/error.hpp"
#include "support/errors.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using test::holds;
using test::message_of;

namespace {

const CacheType f32 = parse_cache_type("f32");

/// One KV head of one channel: 8 bytes a token and layer, 128 a block of 16.
CacheShape small(int layers, int64_t window = 0) {
  CacheShape shape;
  shape.layers.assign(static_cast<size_t>(layers), {1, 1, window});
  return shape;
}

std::vector<MemoryTier> tiers(int64_t fast_blocks, int64_t slow_blocks) {
  return {{"fast", fast_blocks * 128, 1000}, {"slow", slow_blocks * 128, 10}};
}

MeasuredAccess no_reads(int64_t layers, int64_t kv_heads, int64_t tokens) {
  const auto entries = static_cast<size_t>(layers * kv_heads * tokens);
  return {layers, kv_heads, tokens, std::vector<int32_t>(entries), std::vector<float>(entries, 1.0F)};
}

MeasuredAccess random_reads(int64_t layers, int64_t kv_heads, int64_t tokens, unsigned seed) {
  MeasuredAccess access = no_reads(layers, kv_heads, tokens);
  std::mt19937 random(seed);
  for (size_t i = 0; i < access.reads.size(); ++i) {
    const auto later = static_cast<unsigned>(tokens - 1 - static_cast<int64_t>(i) % tokens);
    access.reads[i] = static_cast<int32_t>(random() % (later / (1 + random() % 20) + 1));
    access.mass[i] = static_cast<float>(random() % 1000) / 1000;
  }
  return access;
}

/// The least time of any placement of whole blocks in two tiers, by trying all.
double fastest(const CacheProfile& profile, int64_t kv_heads) {
  std::vector<size_t> blocks;
  for (size_t i = 0; i < profile.grid.held.size(); ++i)
    if (profile.grid.held[i] > 0) blocks.push_back(i);
  double best = std::numeric_limits<double>::infinity();
  for (unsigned choice = 0; choice < 1u << blocks.size(); ++choice) {
    double seconds = 0;
    int64_t used[2] = {0, 0};
    for (size_t b = 0; b < blocks.size(); ++b) {
      const size_t layer = blocks[b] / static_cast<size_t>(profile.grid.columns), tier = choice >> b & 1u;
      used[tier] += profile.grid.allocated[layer];
      seconds += profile.access.reads[blocks[b]] * static_cast<double>(profile.grid.entry[layer]) /
                 static_cast<double>(kv_heads) / profile.tiers[tier].bytes_per_second;
    }
    if (used[0] <= profile.tiers[0].capacity && used[1] <= profile.tiers[1].capacity)
      best = std::min(best, seconds);
  }
  return best;
}

}  // namespace

TEST_CASE("[cache_profile] by age: the first tokens' blocks and the newest are in the fast tier") {
  const CacheProfile profile = cache_profile(small(2), f32, {64, 16, 4}, tiers(4, 9), nullptr);
  REQUIRE(profile.placements.size() == 1);
  const Placement& age = profile.placements[0];
  CHECK(age.tier == std::vector<int>{0, 1, 1, 0, 0, 1, 1, 0});
  CHECK(age.load[0].blocks == 4);
  CHECK(age.load[0].allocated == 4 * 128);
  CHECK(age.load[1].held == 4 * 128);
  CHECK(std::isnan(age.load[0].demand));
  CHECK(step_seconds(profile, age, &TierLoad::held) == doctest::Approx(512.0 / 1000 + 512.0 / 10));
  const CacheProfile unpinned = cache_profile(small(2), f32, {64, 16, 0}, tiers(3, 9), nullptr);
  CHECK(unpinned.placements[0].tier == std::vector<int>{1, 1, 0, 0, 1, 1, 1, 0});
}

TEST_CASE("[cache_profile] blocks are allocated whole, entries are counted as they are") {
  const CacheProfile profile = cache_profile(small(1), f32, {35, 16, 0}, tiers(1, 9), nullptr);
  CHECK(profile.grid.columns == 3);
  CHECK(profile.grid.held == std::vector<int64_t>{16, 16, 3});
  CHECK(profile.placements[0].load[0].allocated == 128);
  CHECK(profile.placements[0].load[0].held == 3 * 8);
  CHECK(profile.placements[0].load[1].held == 32 * 8);
}

TEST_CASE("[cache_profile] a window drops the blocks it has passed, the first ones too") {
  CacheShape shape = small(2, 20);
  shape.layers[0].window = 0;
  shape.sequences = 3;
  const CacheProfile profile = cache_profile(shape, f32, {64, 16, 4}, tiers(100, 1), nullptr);
  CHECK(profile.grid.held == std::vector<int64_t>{16, 16, 16, 16, 0, 0, 4, 16});
  CHECK(profile.placements[0].tier == std::vector<int>{0, 0, 0, 0, -1, -1, 0, 0});
  CHECK(profile.placements[0].load[0].held == (64 + 20) * 8 * 3);
  CHECK(profile.placements[0].load[0].allocated == 6 * 128 * 3);
}

TEST_CASE("[cache_profile] by access: the block in demand is in the fast tier, wherever it stands") {
  MeasuredAccess access = no_reads(2, 1, 64);
  for (size_t t = 16; t < 32; ++t) access.reads[64 + t] = static_cast<int32_t>((63 - t) / 2);
  access.reads[40] = 23;  // every later step
  access.mass.assign(128, 0);
  access.mass[64 + 20] = 43;  // 1 a step
  access.mass[40] = 23.0F / 4;
  access.mass[0] = 63.0F / 4;
  access.mass[63] = 5;  // after the last step: not measured
  const CacheProfile profile = cache_profile(small(2), f32, {64, 16, 4}, tiers(2, 9), &access);
  REQUIRE(profile.placements.size() == 3);
  const Placement& placed = profile.placements[1];
  CHECK(placed.name == "access");
  CHECK(placed.tier[4 + 1] == 0);  // 16 entries at about a half
  CHECK(profile.access.reads[4 + 1] > 7);
  CHECK(profile.access.reads[2] == doctest::Approx(1));
  CHECK(placed.load[0].blocks == 2);
  // Among blocks with one entry in demand the newest goes first, so the first block stays behind.
  CHECK(placed.tier == std::vector<int>{1, 1, 1, 1, 1, 0, 1, 0});
  CHECK(placed.load[1].attention == doctest::Approx(0.5 / 1.5));
  CHECK(placed.load[0].attention + placed.load[1].attention == doctest::Approx(1));
  // The newest entry of each layer, which nothing has read yet, counts as needed.
  CHECK(profile.access.reads[3] == 1);
  const double total = profile.access.reads[5] + 1 + 1 + 1;
  double demand = 0, blocks = 0;
  for (const TierLoad& load : placed.load) demand += load.demand, blocks += load.demand_blocks;
  CHECK(demand == doctest::Approx(8 * total));
  CHECK(blocks == 4 * 128);  // each of the four blocks may be needed at every step
}

TEST_CASE("[cache_profile] no placement of blocks beats that by access, and none the bound") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CacheShape shape;
    shape.layers.assign(2, {2, 3, 0});
    if (seed % 3 == 1) shape.layers[1].window = 30;
    const MeasuredAccess access = random_reads(2, 2, 64, seed);
    const int64_t block = 16 * token_bytes(shape.layers[0], f32, 64).total();
    const std::vector<MemoryTier> memory{{"fast", (1 + seed % 4) * block + 7, 1000},
                                         {"slow", 100 * block, 10}};
    const CacheProfile profile = cache_profile(shape, f32, {64, 16, 4}, memory, &access);
    const auto seconds = [&](size_t i) {
      return step_seconds(profile, profile.placements[i], &TierLoad::demand);
    };
    CHECK(seconds(1) == doctest::Approx(fastest(profile, 2)));
    CHECK(seconds(1) <= seconds(0) * (1 + 1e-12));
    CHECK(seconds(2) <= seconds(1) * (1 + 1e-12));
    double attention = 0, demand[3] = {}, held[3] = {};
    for (size_t i = 0; i < 3; ++i)
      for (const TierLoad& load : profile.placements[i].load) {
        demand[i] += load.demand, held[i] += load.held;
        attention += load.attention / 3;
      }
    CHECK(attention == doctest::Approx(1));
    for (const size_t i : {1u, 2u}) {
      CHECK(demand[i] == doctest::Approx(demand[0]));
      CHECK(held[i] == doctest::Approx(held[0]));
    }
    CHECK(held[0] == cache_bytes(shape, f32, 64));
  }
}

TEST_CASE("[cache_profile] where everything fits in the fast tier, all placements cost the same") {
  const MeasuredAccess access = random_reads(1, 1, 100, 5);
  const CacheProfile profile = cache_profile(small(1), f32, {100, 16, 4}, tiers(100, 1), &access);
  const double age = step_seconds(profile, profile.placements[0], &TierLoad::demand);
  CHECK(step_seconds(profile, profile.placements[1], &TierLoad::demand) == doctest::Approx(age));
  CHECK(step_seconds(profile, profile.placements[2], &TierLoad::demand) == doctest::Approx(age));
}

TEST_CASE("[cache_profile] what does not fit is said in bytes") {
  const auto error = message_of<DataError>([] {
    cache_profile(small(2), f32, {64, 16, 4}, tiers(3, 2), nullptr);
  });
  CHECK(holds(error, "384 bytes (384 B) do not fit"));
  CHECK(holds(error, "takes 1024 bytes"));
  CHECK(holds(error, "have 640"));
}

TEST_CASE("[cache_profile] options and measurements that cannot be are refused") {
  const auto refused = [](const BlockOptions& options, const std::vector<MemoryTier>& memory) {
    return message_of<UsageError>([&] { cache_profile(small(1), f32, options, memory, nullptr); });
  };
  CHECK(holds(refused({0, 16, 4}, tiers(9, 9)), "0 tokens"));
  CHECK(holds(refused({64, 0, 4}, tiers(9, 9)), "blocks of 0"));
  CHECK(holds(refused({64, 16, 4}, {}), "no memory tier"));
  CHECK(holds(refused({64, 16, 4}, {{"a", 1000, 1}, {"b", 1000, 2}}), "from the fastest to the slowest"));
  const auto mismatch = [](MeasuredAccess access) {
    return message_of<DataError>([&] { cache_profile(small(1), f32, {64, 16, 4}, tiers(9, 9), &access); });
  };
  CHECK(holds(mismatch(no_reads(2, 1, 64)), "2 layers"));
  CHECK(holds(mismatch(no_reads(1, 2, 64)), "2 KV heads"));
  CHECK(holds(mismatch(no_reads(1, 1, 63)), "63 tokens"));
  MeasuredAccess access = no_reads(1, 1, 64);
  access.reads[60] = 4;
  CHECK(holds(mismatch(access), "4 reads of the token at 60, after which 3 steps came"));
  access.reads[60] = -1;
  CHECK(holds(mismatch(access), "-1 reads"));
  access.reads[60] = 0;
  access.mass[3] = std::nanf("");
  CHECK(holds(mismatch(access), "attention weight"));
  access.mass.pop_back();
  CHECK(holds(mismatch(access), "63 weights"));
}
