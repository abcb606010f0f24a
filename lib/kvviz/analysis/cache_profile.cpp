// SPDX-License-Identifier: MIT
#include "kvviz/analysis/cache_profile.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

size_t at(const BlockGrid& grid, int64_t layer, int64_t column) {
  return static_cast<size_t>(layer * grid.columns + column);
}

// The first position that a layer still holds.
int64_t first_held(const CacheLayer& layer, int64_t tokens) {
  return layer.window > 0 ? std::max<int64_t>(0, tokens - layer.window) : 0;
}

void check(const BlockOptions& options, const std::vector<MemoryTier>& tiers) {
  require<UsageError>(options.tokens >= 1 && options.block_tokens >= 1 && options.first_tokens >= 0, "got ",
                      options.tokens, " tokens in blocks of ", options.block_tokens, " with the first ",
                      options.first_tokens, " kept; expected at least 1 token, 1 and 0");
  require<UsageError>(!tiers.empty(), "no memory tier to place blocks in");
  for (size_t i = 0; i < tiers.size(); ++i) {
    require<UsageError>(tiers[i].capacity >= 0 && tiers[i].bytes_per_second > 0, "tier ", tiers[i].name,
                        " has a capacity or bandwidth below 0");
    require<UsageError>(i == 0 || tiers[i].bytes_per_second <= tiers[i - 1].bytes_per_second, "tier ",
                        tiers[i].name, " is faster than ", i == 0 ? "" : tiers[i - 1].name,
                        " before it; name the tiers from the fastest to the slowest");
  }
}

void check(const MeasuredAccess& access, const CacheShape& shape, int64_t tokens) {
  const auto layers = static_cast<int64_t>(shape.layers.size());
  const bool alike = std::ranges::all_of(
      shape.layers, [&](const CacheLayer& layer) { return layer.kv_heads == access.kv_heads; });
  require(access.layers == layers && alike && access.tokens == tokens, "the measured access is of ",
          access.layers, " layers, ", access.kv_heads, " KV heads and ", access.tokens,
          " tokens; the cache has ", layers, " layers, ", shape.layers.front().kv_heads, " KV heads and ",
          tokens, " tokens. Profile the model and the length that were simulated");
  const auto entries = static_cast<size_t>(layers * access.kv_heads * tokens);
  require(access.reads.size() == entries && access.mass.size() == entries, "the measured access holds ",
          access.reads.size(), " reads and ", access.mass.size(), " weights; expected ", entries, " of both");
  for (size_t i = 0; i < entries; ++i) {
    const int64_t later = tokens - 1 - static_cast<int64_t>(i) % tokens;
    require(access.reads[i] >= 0 && access.reads[i] <= later, "the measured access has ", access.reads[i],
            " reads of the token at ", tokens - 1 - later, ", after which ", later, " steps came");
    require(access.mass[i] >= 0 && access.mass[i] < std::numeric_limits<float>::infinity(),
            "the measured access has an attention weight of ", access.mass[i]);
  }
}

BlockGrid grid_of(const CacheShape& shape, const CacheType& type, const BlockOptions& options) {
  BlockGrid grid;
  const int64_t size = options.block_tokens;
  grid.layers = static_cast<int64_t>(shape.layers.size());
  grid.columns = (options.tokens - 1) / size + 1;
  require<UsageError>(grid.columns <= (int64_t{1} << 28) / grid.layers, grid.columns, " blocks in each of ",
                      grid.layers, " layers are too many to place; give larger blocks or fewer tokens");
  grid.held.resize(static_cast<size_t>(grid.layers * grid.columns));
  for (int64_t l = 0; l < grid.layers; ++l) {
    const CacheLayer& layer = shape.layers[static_cast<size_t>(l)];
    grid.entry.push_back(token_bytes(layer, type, shape.group).total() * shape.sequences);
    require<UsageError>(size <= (int64_t{1} << 62) / grid.entry.back(), "a block of ", size,
                        " tokens takes more than 2^62 bytes; give smaller blocks");
    grid.allocated.push_back(grid.entry.back() * size);
    const int64_t first = first_held(layer, options.tokens);
    for (int64_t c = first / size; c < grid.columns; ++c)
      grid.held[at(grid, l, c)] = std::min(options.tokens, (c + 1) * size) - std::max(first, c * size);
  }
  return grid;
}

int64_t later_steps(const MeasuredAccess& access, size_t entry) {
  return access.tokens - 1 - static_cast<int64_t>(entry) % access.tokens;
}

/// The share of steps at which an entry is needed.
double rate(const MeasuredAccess& access, size_t entry) {
  const int64_t later = later_steps(access, entry);
  return later == 0 ? 1 : static_cast<double>(access.reads[entry]) / static_cast<double>(later);
}

/// The attention weight that it receives at a step.
double attention(const MeasuredAccess& access, size_t entry) {
  const int64_t later = later_steps(access, entry);
  return later == 0 ? 0 : static_cast<double>(access.mass[entry]) / static_cast<double>(later);
}

/// Visits every entry that is still held: layer, column, index in the measurement.
template <class Visit>
void for_each_entry(const CacheShape& shape, const MeasuredAccess& access, int64_t block_tokens,
                    Visit&& visit) {
  for (int64_t l = 0; l < access.layers; ++l)
    for (int64_t h = 0; h < access.kv_heads; ++h)
      for (int64_t t = first_held(shape.layers[static_cast<size_t>(l)], access.tokens); t < access.tokens;
           ++t)
        visit(l, t / block_tokens, static_cast<size_t>((l * access.kv_heads + h) * access.tokens + t));
}

BlockAccess access_of(const CacheShape& shape, const BlockGrid& grid, const MeasuredAccess& access,
                      int64_t block_tokens) {
  BlockAccess blocks;
  blocks.reads.resize(grid.held.size());
  blocks.attention.resize(grid.held.size());
  for_each_entry(shape, access, block_tokens, [&](int64_t l, int64_t c, size_t i) {
    blocks.reads[at(grid, l, c)] += rate(access, i);
    blocks.attention[at(grid, l, c)] += attention(access, i);
  });
  for (size_t i = 0; i < grid.held.size(); ++i)  // 0 / 0 where nothing is held
    blocks.rate.push_back(blocks.reads[i] / static_cast<double>(grid.held[i] * access.kv_heads));
  return blocks;
}

std::string exact(double bytes) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.0f", bytes);
  return text.data();
}

/// Blocks that hold something, in the order in which they take room.
using Order = std::vector<size_t>;

Order all_blocks(const BlockGrid& grid) {
  Order order;
  for (size_t i = 0; i < grid.held.size(); ++i)
    if (grid.held[i] > 0) order.push_back(i);
  return order;
}

Order by_age(const BlockGrid& grid, const BlockOptions& options) {
  Order order = all_blocks(grid);
  const auto columns = static_cast<size_t>(grid.columns);
  const int64_t pinned = (options.first_tokens + options.block_tokens - 1) / options.block_tokens;
  const auto newness = [&](size_t block) {
    const auto column = static_cast<int64_t>(block % columns);
    return column < pinned ? grid.columns : column;
  };
  std::ranges::stable_sort(order, std::ranges::greater{}, newness);
  return order;
}

/// Blocks of one layer differ only in their reads; between layers an entry's size cancels out.
Order by_access(const BlockGrid& grid, const BlockAccess& access) {
  Order order = all_blocks(grid);
  std::ranges::reverse(order);  // the newest first among equals
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](size_t block) { return access.reads[block]; });
  return order;
}

std::vector<int> fill(const BlockGrid& grid, const Order& order, const std::vector<MemoryTier>& tiers) {
  std::vector<int64_t> room;
  for (const MemoryTier& tier : tiers) room.push_back(tier.capacity);
  std::vector<int> placed(grid.held.size(), -1);
  double lacking = 0, needed = 0;
  for (const size_t block : order) {
    const int64_t bytes = grid.allocated[block / static_cast<size_t>(grid.columns)];
    const auto tier = std::ranges::find_if(room, [&](int64_t left) { return left >= bytes; });
    needed += static_cast<double>(bytes);
    if (tier == room.end()) {
      lacking += static_cast<double>(bytes);
      continue;
    }
    *tier -= bytes;
    placed[block] = static_cast<int>(tier - room.begin());
  }
  double capacity = 0;
  for (const MemoryTier& tier : tiers) capacity += static_cast<double>(tier.capacity);
  require(lacking == 0, exact(lacking), " bytes (", size_text(lacking), ") do not fit: the cache takes ",
          exact(needed), " bytes in whole blocks, the tiers have ", exact(capacity),
          ". Give larger tiers, fewer tokens or sequences, or a smaller dtype");
  return placed;
}

Placement loaded(std::string name, std::vector<int> tiers_of, const CacheProfile& profile, int64_t kv_heads) {
  Placement placement{std::move(name), std::move(tiers_of), std::vector<TierLoad>(profile.tiers.size())};
  const BlockGrid& grid = profile.grid;
  const BlockAccess& access = profile.access;
  const bool measured = !access.reads.empty();
  const double weight = std::accumulate(access.attention.begin(), access.attention.end(), 0.0);
  if (measured)
    for (TierLoad& load : placement.load) load.demand = load.demand_blocks = load.attention = 0;
  for (size_t i = 0; i < placement.tier.size(); ++i) {
    if (placement.tier[i] < 0) continue;
    TierLoad& load = placement.load[static_cast<size_t>(placement.tier[i])];
    const size_t layer = i / static_cast<size_t>(grid.columns);
    const auto entry = static_cast<double>(grid.entry[layer]),
               block = static_cast<double>(grid.allocated[layer]);
    ++load.blocks;
    load.allocated += grid.allocated[layer];
    load.held += static_cast<double>(grid.held[i]) * entry;
    if (!measured) continue;
    load.demand += access.reads[i] * entry / static_cast<double>(kv_heads);
    load.demand_blocks += std::min(1.0, access.reads[i]) * block;
    load.attention += weight > 0 ? access.attention[i] / weight : TierLoad::none;
  }
  return placement;
}

struct Entry {
  double rate = 0, bytes = 0, attention = 0;
};

Placement bound(const CacheShape& shape, const MeasuredAccess& access, const CacheProfile& profile,
                int64_t block_tokens) {
  std::vector<Entry> entries;
  double weight = 0;
  for_each_entry(shape, access, block_tokens, [&](int64_t l, int64_t, size_t i) {
    const double bytes = static_cast<double>(profile.grid.entry[static_cast<size_t>(l)]) /
                         static_cast<double>(access.kv_heads);
    entries.push_back({rate(access, i), bytes, attention(access, i)});
    weight += entries.back().attention;
  });
  std::ranges::stable_sort(entries, std::ranges::greater{}, &Entry::rate);
  Placement placement{"bound", {}, std::vector<TierLoad>(profile.tiers.size())};
  for (TierLoad& load : placement.load) load.demand = load.attention = 0;
  size_t tier = 0;
  double room = static_cast<double>(profile.tiers[0].capacity);
  for (const Entry& entry : entries) {
    double left = entry.bytes;
    while (left > 0) {
      while (room <= 0 && tier + 1 < profile.tiers.size())
        room = static_cast<double>(profile.tiers[++tier].capacity);
      const double part = tier + 1 < profile.tiers.size() ? std::min(left, room) : left;
      TierLoad& load = placement.load[tier];
      load.held += part;
      load.demand += part * entry.rate;
      load.attention += weight > 0 ? entry.attention * (part / entry.bytes) / weight : TierLoad::none;
      room -= part, left -= part;
    }
  }
  return placement;
}

}  // namespace

CacheProfile cache_profile(const CacheShape& shape, const CacheType& type, const BlockOptions& options,
                           const std::vector<MemoryTier>& tiers, const MeasuredAccess* access) {
  validate(shape);
  check(options, tiers);
  if (access != nullptr) check(*access, shape, options.tokens);
  // Also refuses what 64 bits cannot count, whole blocks included.
  cache_bytes(shape, type, options.tokens + options.block_tokens);
  CacheProfile profile{.tiers = tiers, .grid = grid_of(shape, type, options)};
  if (access != nullptr) profile.access = access_of(shape, profile.grid, *access, options.block_tokens);
  const int64_t heads = access != nullptr ? access->kv_heads : 1;
  profile.placements.push_back(
      loaded("age", fill(profile.grid, by_age(profile.grid, options), tiers), profile, heads));
  if (access == nullptr) return profile;
  profile.placements.push_back(
      loaded("access", fill(profile.grid, by_access(profile.grid, profile.access), tiers), profile, heads));
  profile.placements.push_back(bound(shape, *access, profile, options.block_tokens));
  return profile;
}

double step_seconds(const CacheProfile& profile, const Placement& placement, double TierLoad::*bytes) {
  double seconds = 0;
  for (size_t i = 0; i < profile.tiers.size(); ++i)
    seconds += placement.load[i].*bytes / profile.tiers[i].bytes_per_second;
  return seconds;
}

}  // namespace kvviz::analysis
