// SPDX-License-Identifier: MIT
#include "kvviz/eval/layer_scan.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "kvviz/model/rope.hpp"

namespace kvviz {

RotaryTables::RotaryTables(const ModelConfig& config, int64_t tokens, int64_t ahead) {
  const int64_t positions = tokens + ahead;
  if (config.position == PositionKind::alibi) table_ = kernels::RotaryTable{.positions = positions};
  if (config.position != PositionKind::rope) return;
  RopeTable table = rope_table(config.rope, 0, positions, tokens);
  cosine_ = std::move(table.cos);
  sine_ = std::move(table.sin);
  table_ = kernels::RotaryTable{.cosine = cosine_.data_ptr<float>(),
                                .sine = sine_.data_ptr<float>(),
                                .positions = positions,
                                .pairs = config.rope.rotary_dim / 2,
                                .interleaved = config.rope.pairing == RopePairing::interleaved};
}

kernels::ScanShape scan_shape(const LayerQkv& x) {
  return {.query_heads = x.query.size(1),
          .kv_heads = x.key.size(1),
          .head_dim = x.query.size(3),
          .scale = static_cast<float>(x.spec.scale),
          .softcap = static_cast<float>(x.spec.softcap),
          .window = x.spec.window,
          .alibi_slopes = x.spec.alibi_slopes};
}

kernels::HeadsView heads_view(const at::Tensor& x, int64_t batch) {
  return {x.data_ptr<float>() + batch * x.stride(0), x.stride(1), x.stride(2)};
}

kernels::ScanInput scan_input(const LayerQkv& x, const at::Tensor& out, int64_t batch) {
  const int64_t row = x.query.size(0) == 1 ? 0 : batch;
  return {.tokens = x.query.size(2),
          .q = heads_view(x.query, row),
          .k = heads_view(x.key, row),
          .v = heads_view(x.value, row),
          .query_pre_rope = heads_view(x.query_pre_rope, row),
          .key_pre_rope = heads_view(x.key_pre_rope, row),
          .out = {out.data_ptr<float>() + batch * out.stride(0), out.stride(1), out.stride(2)}};
}

at::Tensor empty_output(const LayerQkv& x, int64_t batch) {
  return at::empty({batch, x.query.size(2), x.query.size(1), x.query.size(3)}, x.query.options())
      .transpose(1, 2);
}

kernels::EvictingScan layer_scan(const Simulation& simulation, const SimulationOptions& options,
                                 const kernels::ScanShape& shape, const policy::LayerPlace& place,
                                 std::span<const std::vector<double>> totals) {
  const auto splits = policy::layer_splits(simulation.policy, options.policy, shape, place);
  const bool all_fit = std::ranges::all_of(
      splits, [&](const policy::Split& split) { return place.tokens > 0 && split.budget() >= place.tokens; });
  const bool ranks = options.positions == CachePositions::cache && !all_fit;
  return {shape,
          policy::decision_groups(simulation.policy, options.policy, shape, place, totals),
          {.aggregate = options.policy.aggregate,
           .prompt = options.prompt,
           .compare = options.compare,
           .cache_positions = ranks ? place.rotary : nullptr}};
}

policy::LayerPlace layer_place(const Simulation& simulation, const ModelConfig& config, int layer,
                               int64_t tokens, const RotaryTables& rotary) {
  return {.layer = layer,
          .layers = std::ssize(config.layers),
          .budget = policy::resolve(simulation.budget, tokens),
          .tokens = tokens,
          .rotary = rotary.get()};
}

std::vector<SimulatedSet> simulated_sets(int layer, const kernels::EvictingScan& scan,
                                         std::span<const policy::Split> splits,
                                         std::span<const policy::Metadata> metadata) {
  std::vector<SimulatedSet> sets;
  for (const kernels::SlotSet* const set : scan.sets()) {
    sets.push_back({.layer = layer,
                    .owner = set->owner(),
                    .budget = splits[sets.size()].budget(),
                    .metadata = metadata[sets.size()],
                    .peak = set->peak(),
                    .kept = set->kept_positions(),
                    .log = {set->log().begin(), set->log().end()}});
  }
  return sets;
}

}  // namespace kvviz
