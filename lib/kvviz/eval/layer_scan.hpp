// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// The tables that rotary policies and cache positions read: of a text of `tokens` positions, as the decoder
/// turns one that it gets as a whole (frequencies may go by the length), and the `ahead` positions behind it;
/// without a pair under ALiBi, whose distances alone go by position; nothing for learned positions.
class RotaryTables {
 public:
  RotaryTables(const ModelConfig& config, int64_t tokens, int64_t ahead);
  const kernels::RotaryTable* get() const { return table_ ? &*table_ : nullptr; }

 private:
  at::Tensor cosine_, sine_;
  std::optional<kernels::RotaryTable> table_;
};

/// How a layer's tokens are handed to an evicting scan.
kernels::ScanShape scan_shape(const LayerQkv& x);
kernels::HeadsView heads_view(const at::Tensor& x, int64_t batch);
/// Of batch entry `batch` (0 where there is one); `out` [batch, query_heads, tokens, head_dim].
kernels::ScanInput scan_input(const LayerQkv& x, const at::Tensor& out, int64_t batch);
/// For attention outputs of `batch` entries, [batch, query_heads, tokens, head_dim].
at::Tensor empty_output(const LayerQkv& x, int64_t batch);

/// The scan of one simulation in one layer. `totals`: for clairvoyant policies. Where no key can leave, ranks
/// in the cache are positions, and cache positions are not asked for: so the run is the full cache's bit for
/// bit.
kernels::EvictingScan layer_scan(const Simulation& simulation, const SimulationOptions& options,
                                 const kernels::ScanShape& shape, const policy::LayerPlace& place,
                                 std::span<const std::vector<double>> totals);

/// Where a layer stands, for a text of so many tokens.
policy::LayerPlace layer_place(const Simulation& simulation, const ModelConfig& config, int layer,
                               int64_t tokens, const RotaryTables& rotary);

/// What the scan's sets hold and lost.
std::vector<SimulatedSet> simulated_sets(int layer, const kernels::EvictingScan& scan,
                                         std::span<const policy::Split> splits,
                                         std::span<const policy::Metadata> metadata);

}  // namespace kvviz
