// SPDX-License-Identifier: MIT
#include "kvviz/eval/removal.hpp"

#include <ATen/ops/ones.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

constexpr double element_bytes = 2, position_bytes = 4;

bool among(const std::vector<int>& chosen, int64_t index) {
  return chosen.empty() || std::ranges::count(chosen, index) > 0;
}

/// The largest magnitude below which elements become 0, of keys and of values.
struct Thresholds {
  double key = 0, value = 0;
};

Thresholds thresholds(const KvCache& cache, const Removal& removal) {
  Thresholds result;
  if (removal.threshold_percent == 0) return result;
  for (const LayerKv& layer : cache.layers) {
    result.key = std::max(result.key, layer.key.abs().max().item<double>());
    result.value = std::max(result.value, layer.value.abs().max().item<double>());
  }
  const double share = removal.threshold_percent / 100;
  result.key *= removal.keys ? share : 0;
  result.value *= removal.values ? share : 0;
  return result;
}

/// Positions that each KV head goes on holding.
std::vector<std::vector<int32_t>> held_positions(const LayerConfig& shape, const Removal& removal,
                                                 const std::vector<int>& silent, int64_t tokens) {
  const int64_t group = shape.heads / shape.kv_heads;
  std::vector<int32_t> all(static_cast<size_t>(tokens));
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::vector<int32_t>> held;
  for (int64_t g = 0; g < shape.kv_heads; ++g) {
    const auto gone = std::ranges::count_if(silent, [&](int head) { return head / group == g; });
    held.push_back(gone == group ? std::vector<int32_t>{} : all);
    if (!removal.tokens.empty() && among(removal.heads, g))
      std::erase_if(held.back(), [&](int32_t t) { return std::ranges::count(removal.tokens, t) > 0; });
  }
  return held;
}

std::vector<int> silent_heads(const LayerConfig& shape, const Removal& removal) {
  if (!removal.whole_heads()) return removal.query_heads;
  std::vector<int> silent;
  const int64_t group = shape.heads / shape.kv_heads;
  for (int64_t h = 0; h < shape.heads; ++h)
    if (among(removal.heads, h / group)) silent.push_back(static_cast<int>(h));
  return silent;
}

/// Keys or values of a layer and what is done to them.
struct Side {
  const at::Tensor* original;
  bool chosen;  ///< its channels and small elements may go
  double threshold;
  at::Tensor held{}, kept{}, later_factor{};  ///< held: as it was; kept: what is left of it
  double payload = 0, metadata = 0, workspace = 0, zeros = 0, error = 0;
};

/// 1, or 0 for the removed channels of the heads where they are.
at::Tensor channel_factor(const at::Tensor& x, const Removal& removal) {
  const at::Tensor factor = at::ones({x.size(0), x.size(2)});
  for (int64_t g = 0; g < x.size(0); ++g) {
    if (!among(removal.heads, g)) continue;
    for (const int channel : removal.channels) factor[g][channel].zero_();
  }
  return factor;
}

void cut_elements(Side& side, const Removal& removal) {
  if (side.chosen && !removal.channels.empty()) {
    side.later_factor = channel_factor(*side.original, removal);
    side.kept = side.kept.mul(side.later_factor.unsqueeze(1));
  }
  if (side.threshold == 0) return;
  side.kept = side.kept.clone();
  for (int64_t g = 0; g < side.kept.size(0); ++g)
    if (among(removal.heads, g)) side.kept[g].masked_fill_(side.kept[g].abs().lt(side.threshold), 0);
}

void count(Side& side, const Removal& removal, const std::vector<std::vector<int32_t>>& held) {
  const at::Tensor& x = *side.original;
  const auto channels = static_cast<double>(
      x.size(2) - (side.later_factor.defined() ? std::ssize(removal.channels) : int64_t{0}));
  for (int64_t g = 0; g < x.size(0); ++g) {
    const auto tokens = std::ssize(held[static_cast<size_t>(g)]);
    const bool here = among(removal.heads, g);
    const double elements = static_cast<double>(tokens) * (here ? channels : static_cast<double>(x.size(2)));
    const auto nonzero = side.kept[g].narrow(0, 0, tokens).count_nonzero().item<double>();
    const double dense = element_bytes * elements;
    const double bitmap = std::ceil(elements / 8);
    const bool sparse = here && side.threshold > 0 && bitmap + element_bytes * nonzero < dense;
    side.payload += sparse ? element_bytes * nonzero : dense;
    side.metadata += sparse ? bitmap : 0;
    side.workspace += sparse ? dense : 0;
    side.zeros += static_cast<double>(x[g].numel()) - nonzero;
  }
  if (side.kept.is_same(side.held)) return;
  side.error = relative_error(side.kept, side.held);
}

ChangedLayer changed(const LayerKv& layer, const LayerConfig& shape, const Removal& removal,
                     const Thresholds& below, RemovedCache& into) {
  ChangedLayer result{.silent = silent_heads(shape, removal)};
  const auto held = held_positions(shape, removal, result.silent, layer.tokens());
  const bool all_held = std::ranges::all_of(
      held, [&](const std::vector<int32_t>& head) { return std::ssize(head) == layer.tokens(); });
  Side key{.original = &layer.key, .chosen = removal.keys, .threshold = below.key};
  Side value{.original = &layer.value, .chosen = removal.values, .threshold = below.value};
  for (Side* const side : {&key, &value}) {
    side->held = all_held ? *side->original : held_rows(*side->original, held);
    side->kept = side->held;
    cut_elements(*side, removal);
    count(*side, removal, held);
  }
  result.key = key.kept, result.value = value.kept;
  result.later_key_factor = key.later_factor, result.later_value_factor = value.later_factor;
  result.key_error = key.error, result.value_error = value.error;
  result.payload_bytes = key.payload + value.payload;
  result.metadata_bytes = key.metadata + value.metadata;
  result.workspace_bytes = key.workspace + value.workspace;
  if (!removal.tokens.empty() && shape.window > 0) {
    size_t listed = 0;
    for (int64_t g = 0; g < shape.kv_heads; ++g)
      if (among(removal.heads, g)) listed = std::max(listed, held[static_cast<size_t>(g)].size());
    result.metadata_bytes += position_bytes * static_cast<double>(listed);
  }
  if (!all_held) result.positions = held;
  into.key_zeros += key.zeros, into.value_zeros += value.zeros;
  return result;
}

void check_indices(const std::vector<int>& chosen, int64_t count, const std::string& what,
                   const std::string& of) {
  for (const int index : chosen)
    require<UsageError>(index >= 0 && index < count, what, ' ', index, " does not exist; ", of, " has ", what,
                        "s 0 to ", count - 1);
  std::vector<int> sorted = chosen;
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  require<UsageError>(twice == sorted.end(), what, ' ', twice == sorted.end() ? 0 : *twice,
                      " is named twice");
}

}  // namespace

void validate(const Removal& removal, const ModelConfig& model, int64_t prefix) {
  check_indices(removal.layers, std::ssize(model.layers), "layer", "the model");
  for (size_t l = 0; l < model.layers.size(); ++l) {
    if (!among(removal.layers, static_cast<int64_t>(l))) continue;
    const LayerConfig& layer = model.layers[l];
    const std::string here = cat("layer ", l);
    check_indices(removal.heads, layer.kv_heads, "KV head", here);
    check_indices(removal.query_heads, layer.heads, "query head", here);
    check_indices(removal.channels, layer.head_dim, "channel", cat("a head of ", here));
  }
  check_indices(removal.tokens, prefix, "token", "the prefix");
}

RemovedCache removed(const KvCache& cache, const ModelConfig& model, const Removal& removal) {
  validate(removal, model, cache.layers.front().tokens());
  const Thresholds below = thresholds(cache, removal);
  RemovedCache result;
  const Removal nothing;
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const bool here = among(removal.layers, static_cast<int64_t>(l));
    const LayerKv& layer = cache.layers[l];
    result.elements += static_cast<double>(layer.key.numel());
    result.layers.push_back(
        changed(layer, model.layers[l], here ? removal : nothing, here ? below : Thresholds{}, result));
  }
  return result;
}

}  // namespace kvviz
