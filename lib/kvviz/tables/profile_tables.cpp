// SPDX-License-Identifier: MIT
#include "kvviz/tables/profile_tables.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* single_entries = "the bound places single entries, not blocks";

Cell tiers_for(int64_t bytes, const std::vector<MemoryTier>& tiers) {
  std::string names;
  double room = 0;
  for (const MemoryTier& tier : tiers) {
    names += (names.empty() ? "" : " + ") + tier.name;
    room += static_cast<double>(tier.capacity);
    if (static_cast<double>(bytes) <= room) return names;
  }
  return Null{"more than all tiers hold"};
}

struct Run {
  std::string placement, tier;
  int64_t layer = 0, first = 0, end = 0;  // blocks
};

std::vector<Run> runs_of(const CacheProfile& profile) {
  std::vector<Run> runs;
  const BlockGrid& grid = profile.grid;
  for (const Placement& placement : profile.placements) {
    if (placement.tier.empty()) continue;
    const auto tier_at = [&](int64_t l, int64_t c) {
      return placement.tier[static_cast<size_t>(l * grid.columns + c)];
    };
    for (int64_t l = 0; l < grid.layers; ++l)
      for (int64_t c = 0, end = 0; c < grid.columns; c = end) {
        const int tier = tier_at(l, c);
        for (end = c + 1; end < grid.columns && tier_at(l, end) == tier;) ++end;
        if (tier >= 0)
          runs.push_back({placement.name, profile.tiers[static_cast<size_t>(tier)].name, l, c, end});
      }
  }
  return runs;
}

struct PlacementRow {
  std::string placement;
  MemoryTier tier;
  TierLoad load;
  bool blocks = true;  // false: single entries
};

}  // namespace

Table cache_types_table(const CacheSizes& sizes) {
  using Row = TypeSize;
  const std::vector<Field<Row>> fields = {
      {word("dtype"), [](const Row& r) { return Cell(std::string(r.type.name)); }},
      {whole("bits"), [](const Row& r) { return integer(r.type.bits); }},
      {whole("bytes_per_token", "bytes"), [](const Row& r) { return integer(r.token.total()); }},
      {whole("cache_bytes", "bytes"), [](const Row& r) { return integer(r.bytes); }},
      {whole("payload_per_token", "bytes"), [](const Row& r) { return integer(r.token.payload); }},
      {whole("metadata_per_token", "bytes"), [](const Row& r) { return integer(r.token.metadata); }}};
  return make_table("dtypes", {"dtype"}, fields, sizes.types);
}

Table projection_table(const CacheSizes& sizes, const ProfileContext& context,
                       const std::vector<MemoryTier>& tiers) {
  using Row = ProjectedSize;
  std::vector<Field<Row>> fields = {
      {whole("tokens", "tokens"), [](const Row& r) { return integer(r.tokens); }},
      {word("size"), [](const Row& r) { return Cell(size_text(static_cast<double>(r.bytes))); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.bytes); }},
      {word("fits_in"), [&](const Row& r) { return tiers_for(r.bytes, tiers); }}};
  if (context.model_context)
    fields.push_back({word("within_context"), [&](const Row& r) {
                        return Cell(std::string(r.tokens <= *context.model_context ? "yes" : "no"));
                      }});
  if (context.weights)
    fields.push_back({whole("bytes_with_weights", "bytes"),
                      [&](const Row& r) { return integer(r.bytes + *context.weights); }});
  std::vector<Row> rows;
  std::ranges::copy_if(sizes.projections, std::back_inserter(rows),
                       [&](const Row& r) { return r.type.name == context.dtype; });
  return make_table("projection", {"tokens"}, fields, rows);
}

Table projection_dtypes_table(const CacheSizes& sizes) {
  using Row = ProjectedSize;
  const std::vector<Field<Row>> fields = {
      {whole("tokens", "tokens"), [](const Row& r) { return integer(r.tokens); }},
      {word("dtype"), [](const Row& r) { return Cell(std::string(r.type.name)); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.bytes); }}};
  return make_table("projection_dtypes", {"tokens", "dtype"}, fields, sizes.projections);
}

Table longest_context_table(const CacheSizes& sizes) {
  const size_t types = cache_types().size();
  Table table{.name = "longest_context", .columns = {word("memory")}, .key = {"memory"}};
  for (const CacheType& type : cache_types()) table.columns.push_back(whole(type.name, "tokens"));
  table.columns.push_back(whole("memory_bytes", "bytes"));
  for (size_t i = 0; i < sizes.fits.size(); ++i) {
    const MemoryFit& fit = sizes.fits[i];
    if (i % types == 0) table.rows.push_back({fit.memory.name});
    table.rows.back().push_back(!fit.weights_fit ? Cell(Null{"the weights alone do not fit"})
                                : fit.tokens     ? integer(*fit.tokens)
                                             : Cell(Null{"no limit: every layer has a window, and all fit"}));
    if (i % types == types - 1) table.rows.back().push_back(integer(fit.memory.bytes));
  }
  return table;
}

Table cache_layers_table(const CacheShape& shape, const CacheType& type, const CacheProfile& profile,
                         int64_t tokens) {
  struct Row {
    int64_t layer = 0;
    CacheLayer of;
    int64_t kept = 0, per_token = 0, bytes = 0, blocks = 0, allocated = 0;
  };
  const BlockGrid& grid = profile.grid;
  std::vector<Row> rows;
  for (int64_t l = 0; l < grid.layers; ++l) {
    const auto layer = static_cast<size_t>(l);
    Row row{.layer = l, .of = shape.layers[layer]};
    row.kept = row.of.window > 0 ? std::min(tokens, row.of.window) : tokens;
    row.per_token = token_bytes(row.of, type, shape.group).total();
    row.bytes = row.kept * grid.entry[layer];
    const auto first = grid.held.begin() + l * grid.columns;
    row.blocks = std::count_if(first, first + grid.columns, [](int64_t held) { return held > 0; });
    row.allocated = row.blocks * grid.allocated[layer];
    rows.push_back(row);
  }
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {whole("kv_heads"), [](const Row& r) { return integer(r.of.kv_heads); }},
      {whole("head_dim"), [](const Row& r) { return integer(r.of.head_dim); }},
      {whole("window", "tokens"),
       [](const Row& r) { return r.of.window > 0 ? integer(r.of.window) : Cell(Null{"keeps every token"}); }},
      {whole("bytes_per_token", "bytes"), [](const Row& r) { return integer(r.per_token); }},
      {whole("kept", "tokens"), [](const Row& r) { return integer(r.kept); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.bytes); }},
      {whole("blocks"), [](const Row& r) { return integer(r.blocks); }},
      {whole("allocated", "bytes"), [](const Row& r) { return integer(r.allocated); }}};
  return make_table("cache_layers", {"layer"}, fields, rows);
}

Table placement_table(const CacheProfile& profile) {
  using Row = PlacementRow;
  std::vector<Row> rows;
  for (const Placement& placement : profile.placements)
    for (size_t i = 0; i < profile.tiers.size(); ++i)
      rows.push_back({placement.name, profile.tiers[i], placement.load[i], !placement.tier.empty()});
  const auto of_blocks = [](const Row& r, int64_t value) {
    return r.blocks ? integer(value) : Cell(Null{single_entries});
  };
  const auto bytes = [](double expected) { return integer(std::llround(expected)); };
  std::vector<Field<Row>> fields = {
      {word("placement"), [](const Row& r) { return Cell(r.placement); }},
      {word("tier"), [](const Row& r) { return Cell(r.tier.name); }},
      {whole("blocks"), [&](const Row& r) { return of_blocks(r, r.load.blocks); }},
      {whole("bytes", "bytes"), [&](const Row& r) { return bytes(r.load.held); }},
      {{"time_all", "s"}, [](const Row& r) { return real(r.load.held / r.tier.bytes_per_second); }}};
  if (!profile.access.reads.empty()) {
    fields.push_back({whole("demand", "bytes"), [&](const Row& r) { return bytes(r.load.demand); }});
    fields.push_back(
        {{"time_demand", "s"}, [](const Row& r) { return real(r.load.demand / r.tier.bytes_per_second); }});
    fields.push_back({{"attention"}, [](const Row& r) { return real(r.load.attention, "no attention"); }});
    fields.push_back({whole("demand_blocks", "bytes"), [&](const Row& r) {
                        return r.blocks ? bytes(r.load.demand_blocks) : Cell(Null{single_entries});
                      }});
  }
  fields.push_back(
      {whole("allocated", "bytes"), [&](const Row& r) { return of_blocks(r, r.load.allocated); }});
  fields.push_back({whole("capacity", "bytes"), [](const Row& r) { return integer(r.tier.capacity); }});
  fields.push_back(
      {{"bytes_per_second", "bytes/s"}, [](const Row& r) { return real(r.tier.bytes_per_second); }});
  return make_table("placement", {"placement", "tier"}, fields, rows);
}

Table block_runs_table(const CacheProfile& profile, int64_t block_tokens, int64_t tokens) {
  using Row = Run;
  const std::vector<Field<Row>> fields = {
      {word("placement"), [](const Row& r) { return Cell(r.placement); }},
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {whole("first_block"), [](const Row& r) { return integer(r.first); }},
      {whole("blocks"), [](const Row& r) { return integer(r.end - r.first); }},
      {word("tier"), [](const Row& r) { return Cell(r.tier); }},
      {whole("first_token"), [=](const Row& r) { return integer(r.first * block_tokens); }},
      {whole("end_token"), [=](const Row& r) { return integer(std::min(tokens, r.end * block_tokens)); }}};
  return make_table("block_runs", {"placement", "layer", "first_block"}, fields, runs_of(profile));
}

}  // namespace kvviz::tables
