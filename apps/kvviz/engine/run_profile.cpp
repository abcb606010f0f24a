// SPDX-License-Identifier: MIT
#include <algorithm>
#include <functional>
#include <iterator>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/profile_work.hpp"
#include "kvviz/figures/profile_figures.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/profile_tables.hpp"

namespace kvviz {
namespace {

using analysis::TierLoad;
using tables::integer;
using tables::real;

int64_t tokens_for(const ProfileOptions& o, const ProfileSubject& subject,
                   const std::optional<analysis::MeasuredAccess>& access) {
  constexpr int64_t without_model = 4096;
  if (o.tokens) return *o.tokens;
  return access ? access->tokens : subject.context.value_or(without_model);
}

Profiled profiled(const ProfileOptions& o) {
  ProfileMemories memories = read_memories(o);
  std::optional<analysis::MeasuredAccess> access;
  if (!o.access.empty()) access = read_access(o.access);
  ProfileSubject subject = read_profile_subject(o);
  const int64_t tokens = tokens_for(o, subject, access);
  return profiled(std::move(memories), std::move(subject),
                  {.tokens = tokens,
                   .lengths = o.lengths,
                   .block = o.block,
                   .first_tokens = o.first_tokens,
                   .access = access ? &*access : nullptr});
}

/// The same number in every layer, else none.
Cell common(const analysis::CacheShape& shape,
            const std::function<int64_t(const analysis::CacheLayer&)>& of) {
  const int64_t first = of(shape.layers.front());
  const bool alike = std::ranges::all_of(shape.layers, [&](const auto& l) { return of(l) == first; });
  return alike ? integer(first) : Cell(Null{"differs by layer: table cache_layers"});
}

bool layers_alike(const analysis::CacheShape& shape) {
  const analysis::CacheLayer& first = shape.layers.front();
  return std::ranges::all_of(shape.layers, [&](const analysis::CacheLayer& l) {
    return l.kv_heads == first.kv_heads && l.head_dim == first.head_dim && l.window == first.window;
  });
}

void add_geometry(std::vector<Fact>& facts, const Profiled& p, const ProfileOptions& o) {
  using analysis::CacheLayer;
  const analysis::CacheShape& shape = p.subject.shape;
  const analysis::CacheType& type = p.memories.type;
  const auto layer_bytes = [&](const CacheLayer& l) { return token_bytes(l, type, shape.group).total(); };
  facts = {
      {"layers", integer(std::ssize(shape.layers)), "", "Layers"},
      {"kv_heads", common(shape, &CacheLayer::kv_heads), "", "KV heads of a layer"},
      {"head_dim", common(shape, &CacheLayer::head_dim), "", "Channels of a key, and of a value"},
      {"window", common(shape, &CacheLayer::window), "tokens", "Sliding window (0: none)"},
      {"dtype", std::string(type.name), "", "Stored as"},
      {"bytes_per_token", integer(token_bytes(shape, type).total()), "bytes", "Keys and values of a token"},
      {"bytes_per_token_layer", common(shape, layer_bytes), "bytes", "  in one layer"},
      {"sequences", integer(o.batch), "", "Sequences"},
      {"tokens", integer(p.tokens), "tokens", "Length of each"}};
  if (p.subject.context)
    facts.push_back({"context", integer(*p.subject.context), "tokens", "Context the model was made for"});
}

void add_sizes(std::vector<Fact>& facts, const Profiled& p, const ProfileOptions& o) {
  const analysis::CacheShape& shape = p.subject.shape;
  const int64_t bytes = cache_bytes(shape, p.memories.type, p.tokens);
  int64_t blocks = 0, allocated = 0;
  for (const TierLoad& load : p.profile.placements[0].load)
    blocks += load.blocks, allocated += load.allocated;
  const auto label = [](const char* what, int64_t size) {
    return cat(what, " (", size_text(static_cast<double>(size)), ")");
  };
  facts.push_back({"cache_bytes", integer(bytes), "bytes", label("The cache", bytes)});
  facts.push_back({"blocks", integer(blocks), "", cat("Blocks of ", o.block, " tokens of a layer")});
  facts.push_back({"allocated_bytes", integer(allocated), "bytes", label("  these take", allocated)});
  if (p.subject.parameters)
    facts.push_back({"parameters", integer(*p.subject.parameters), "", "Parameters of the model"});
  if (const auto weights = p.subject.weights) {
    facts.push_back({"weights_bytes", integer(*weights), "bytes", label("The weights", *weights)});
    facts.push_back({"cache_to_weights", real(static_cast<double>(bytes) / static_cast<double>(*weights)), "",
                     "The cache, in sizes of the weights"});
  }
  const analysis::MemoryTier& fast = p.profile.tiers.front();
  const auto longest = longest_context(shape, p.memories.type, fast.capacity);
  facts.push_back(
      {"longest_fast", longest ? integer(*longest) : Cell(Null{"no limit: every layer has a window"}),
       "tokens",
       cat("Longest context that ", fast.name, " of ", size_text(static_cast<double>(fast.capacity)),
           p.subject.weights ? " holds beside them" : " holds alone")});
  if (p.memories.l2 > 0)
    facts.push_back({"l2_share",
                     real(std::min(1.0, static_cast<double>(p.memories.l2) / static_cast<double>(bytes))), "",
                     "Share of it that L2 can hold at a time"});
}

/// What a decode step reads, and how long that takes.
void add_step(std::vector<Fact>& facts, const Profiled& p) {
  const auto& placements = p.profile.placements;
  const auto add_time = [&](const char* key, size_t placement, double TierLoad::*bytes, const char* label) {
    facts.push_back({key, real(step_seconds(p.profile, placements[placement], bytes)), "s", label});
  };
  add_time("step_seconds_all", 0, &TierLoad::held, "Time to read all of it once, placed by age");
  if (!p.measured()) return;
  double demand = 0, held = 0;
  for (const TierLoad& load : placements[0].load) demand += load.demand, held += load.held;
  facts.push_back({"demand_share", real(demand / held), "", "Share of the cache that a step needs"});
  add_time("step_seconds_age", 0, &TierLoad::demand, "Time to read what it needs, placed by age");
  add_time("step_seconds_access", 1, &TierLoad::demand, "  placed by access");
  add_time("step_seconds_bound", 2, &TierLoad::demand, "  no placement is faster than");
  const auto add_attention = [&](const char* key, size_t placement, const std::string& label) {
    facts.push_back(
        {key, real(placements[placement].load[0].attention, "no attention was measured"), "", label});
  };
  add_attention("fast_attention_age", 0,
                cat("Share of its attention in ", p.profile.tiers[0].name, ", placed by age"));
  add_attention("fast_attention_access", 1, "  placed by access");
}

std::vector<Fact> facts_of(const Profiled& p, const ProfileOptions& o) {
  std::vector<Fact> facts;
  add_geometry(facts, p, o);
  add_sizes(facts, p, o);
  add_step(facts, p);
  return facts;
}

nlohmann::ordered_json effective_options(const ProfileOptions& o, const Profiled& p) {
  nlohmann::ordered_json effective;
  if (o.layers > 0)
    effective = {
        {"layers", o.layers}, {"kv-heads", o.kv_heads}, {"head-dim", o.head_dim}, {"window", o.window}};
  effective["dtype"] = o.dtype;
  effective["group"] = o.group;
  effective["batch"] = o.batch;
  effective["tokens"] = p.tokens;
  effective["lengths"] = o.lengths;
  effective["memory"] = o.memory;
  effective["weights"] = o.weights;
  effective["block"] = o.block;
  effective["first-tokens"] = o.first_tokens;
  effective["tier"] = o.tiers;
  effective["l2"] = o.l2;
  effective["access"] = o.access.string();
  return effective;
}

std::vector<Table> tables_of(const Profiled& p, const ProfileOptions& o) {
  return {tables::cache_types_table(p.sizes),
          tables::projection_table(p.sizes, {o.dtype, p.subject.context, p.subject.weights}, p.profile.tiers),
          tables::projection_dtypes_table(p.sizes),
          tables::longest_context_table(p.sizes),
          tables::cache_layers_table(p.subject.shape, p.memories.type, p.profile, p.tokens),
          tables::placement_table(p.profile),
          tables::block_runs_table(p.profile, o.block, p.tokens)};
}

void write_profile_arrays(const std::filesystem::path& path, const Profiled& p) {
  io::ArrayFileWriter file(path, "profile");
  const int64_t shape[] = {p.profile.grid.layers, p.profile.grid.columns};
  const std::vector<std::string> axes{"layer", "block"};
  for (const analysis::Placement& placement : p.profile.placements)
    if (!placement.tier.empty())
      file.add({"profile/tier_by_" + placement.name, axes, "",
                "index of the tier that keeps the block; -1: the layer holds nothing there"},
               shape, std::vector<int32_t>(placement.tier.begin(), placement.tier.end()));
  if (p.measured()) {
    file.add({"profile/block_reads", axes, "entries", "entries of a KV head in demand at a step, expected"},
             shape, p.profile.access.reads);
    file.add(
        {"profile/block_attention", axes, "", "attention weight a step that the block's entries receive"},
        shape, p.profile.access.attention);
  }
  file.commit();
}

int profile(const ProfileOptions& o) {
  Delivery delivery{.gates = check_output(o.output, Draws::yes)};
  const Profiled p = profiled(o);
  const SubjectOrigin origin{
      .model = p.subject.name,
      .architecture = p.subject.architecture,
      .dtype = o.dtype,
      .text = o.access.empty() ? "none" : cat("access measured in ", o.access.string()),
      .bos = "none"};
  Result result{.command = "profile", .provenance = provenance_of(origin, o.call, effective_options(o, p))};
  result.provenance["config_sha256"] = p.subject.config_sha256;
  result.summary = facts_of(p, o);
  result.tables = tables_of(p, o);
  const std::string what =
      cat(p.tokens, " tokens, ", o.dtype, o.batch > 1 ? cat(", ", o.batch, " sequences") : "");
  const std::string name = o.layers > 0 ? p.subject.name : short_name(p.subject.name);
  if (!o.output.no_plots)
    delivery.figures = figures::profile_figures(
        {.sizes = &p.sizes,
         .profile = &p.profile,
         .subject = cat(name, ", ", o.batch, o.batch == 1 ? " sequence" : " sequences"),
         .block_tokens = o.block,
         .first_tokens = o.first_tokens,
         .l2 = p.memories.l2,
         .context = p.subject.context,
         .without_weights = !p.subject.weights});
  delivery.heading = cat(p.subject.name, ", ", what);
  delivery.subtitle = cat(name, ", ", what);
  delivery.shown_tables = {"dtypes", "projection", "longest_context", "placement"};
  if (!layers_alike(p.subject.shape))
    delivery.shown_tables.insert(delivery.shown_tables.begin(), "cache_layers");
  delivery.write_arrays = [&](const auto& file) { write_profile_arrays(file, p); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_profile(const kvviz::ProfileOptions& options) {
  return kvviz::guarded([&] { return kvviz::profile(options); });
}
