// SPDX-License-Identifier: MIT
#include "kvviz/engine/plan_change.hpp"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <map>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

using compress::Coded;
using compress::Side;

/// What policies keep of the prefixes they see: all of them in one run of a prefix, when the first is asked.
class PrefixEvictions {
 public:
  PrefixEvictions(const Decoder& decoder, const policy::PolicyOptions& options)
      : decoder_(decoder), options_(options) {}

  /// Its number; what is there already is not run again.
  size_t add(const Simulation& simulation) {
    const auto same = std::ranges::find_if(simulations_, [&](const Simulation& other) {
      return other.policy.name == simulation.policy.name && other.budget.text == simulation.budget.text;
    });
    const auto number = static_cast<size_t>(same - simulations_.begin());
    if (same == simulations_.end()) simulations_.push_back(simulation);
    return number;
  }

  const std::vector<SimulatedSet>& sets(const SplitText& split, size_t eviction) {
    const auto prefix = split.prefix();
    if (prefix.data() != seen_.data() || prefix.size() != seen_.size()) {
      result_ = simulate(decoder_, prefix, simulations_,
                         {.policy = options_, .prompt = std::ssize(prefix), .compare = false});
      seen_ = prefix;
    }
    return result_.texts[eviction].sets;
  }

 private:
  const Decoder& decoder_;
  policy::PolicyOptions options_;
  std::vector<Simulation> simulations_;
  std::span<const int32_t> seen_;
  SimulationResult result_;
};

/// A layer's rows that are left, by KV head.
struct HeldRows {
  std::vector<std::vector<int32_t>> positions;  ///< empty: all
  double metadata = 0;                          ///< bytes of what has to be remembered of them

  bool even() const {
    return std::ranges::all_of(positions, [&](const auto& p) { return p.size() == positions[0].size(); });
  }
};

/// One side of a layer, coded; the error is that of what is held.
struct CodedSide {
  at::Tensor restored;
  compress::Bytes bytes;
  double error = 0;
  double workspace = 0;  ///< bytes of `restored` in f16, where the code is not read as it is
};

double workspace(const compress::Method& method, int64_t elements) {
  return method.info->direct ? 0 : 2.0 * static_cast<double>(elements);
}

CodedSide code(const compress::Method& method, const at::Tensor& x, Side side, const HeldRows& held) {
  const compress::Codec& codec = *method.codec;
  const at::Tensor kept = held.positions.empty() ? x : held_rows(x, held.positions);
  if (held.positions.empty() || held.even()) {
    Coded coded = codec.code(kept, side);
    return {coded.restored, coded.bytes, relative_error(coded.restored, kept),
            workspace(method, kept.numel())};
  }
  CodedSide result{.restored = at::zeros_like(kept)};
  for (size_t g = 0; g < held.positions.size(); ++g) {
    const auto head = static_cast<int64_t>(g);
    const auto part = [&](const at::Tensor& t) {
      return t.narrow(0, head, 1).narrow(1, 0, std::ssize(held.positions[g]));
    };
    const Coded coded = codec.code(part(kept).contiguous(), side);
    part(result.restored).copy_(coded.restored);
    result.bytes.payload += coded.bytes.payload;
    result.bytes.metadata += coded.bytes.metadata;
    result.workspace += workspace(method, coded.restored.numel());
  }
  result.error = relative_error(result.restored, kept);
  return result;
}

const compress::Method& method_of(const CacheSteps& steps, Side side, CodedSides sides) {
  static const compress::Method half = compress::parse_method("f16");
  const bool coded = sides == CodedSides::both || (sides == CodedSides::keys) == (side == Side::key);
  return coded ? steps.codec : half;
}

ChangedLayer joined(CodedSide key, CodedSide value, const HeldRows& held) {
  return {.key = key.restored,
          .value = value.restored,
          .positions = held.positions,
          .payload_bytes = key.bytes.payload + value.bytes.payload,
          .metadata_bytes = key.bytes.metadata + value.bytes.metadata + held.metadata,
          .workspace_bytes = key.workspace + value.workspace,
          .key_error = key.error,
          .value_error = value.error};
}

ChangedLayer coded_layer(const LayerKv& layer, const CacheSteps& steps, CodedSides sides,
                         const HeldRows& held) {
  return joined(code(method_of(steps, Side::key, sides), layer.key, Side::key, held),
                code(method_of(steps, Side::value, sides), layer.value, Side::value, held), held);
}

std::vector<CodedSide> code_across(const compress::Method& method, std::span<const at::Tensor> x, Side side) {
  std::vector<CodedSide> result;
  std::vector<Coded> coded = method.codec->code_layers(x, side);
  for (size_t l = 0; l < x.size(); ++l)
    result.push_back({coded[l].restored, coded[l].bytes, relative_error(coded[l].restored, x[l]),
                      workspace(method, x[l].numel())});
  return result;
}

std::vector<ChangedLayer> coded_layers(std::span<const LayerKv> layers, const CachePlan& plan,
                                       CodedSides sides, std::span<const HeldRows> held) {
  std::vector<ChangedLayer> changed;
  if (plan.layers.size() == 1 && plan.layers[0].codec.codec->across_layers()) {
    std::vector<at::Tensor> keys, values;
    for (const LayerKv& layer : layers) keys.push_back(layer.key), values.push_back(layer.value);
    const auto key = code_across(method_of(plan.layers[0], Side::key, sides), keys, Side::key);
    const auto value = code_across(method_of(plan.layers[0], Side::value, sides), values, Side::value);
    for (size_t l = 0; l < layers.size(); ++l) changed.push_back(joined(key[l], value[l], {}));
    return changed;
  }
  for (size_t l = 0; l < layers.size(); ++l)
    changed.push_back(coded_layer(layers[l], plan.of_layer(l), sides, held[l]));
  return changed;
}

/// The cache is cut once, so that nothing but the positions has to be remembered, and those not where the
/// newest tokens stay in their order.
HeldRows held_of(std::span<const SimulatedSet> sets, size_t layer, const policy::PolicyInfo& info) {
  HeldRows held;
  for (const SimulatedSet& set : sets) {
    if (set.layer != static_cast<int>(layer)) continue;
    held.positions.push_back(set.kept);
    if (!info.newest) held.metadata += static_cast<double>(set.kept.size() * sizeof(int32_t));
  }
  return held;
}

}  // namespace

std::vector<ChangedLayer> coded_layers(std::span<const LayerKv> layers, const CachePlan& plan,
                                       CodedSides sides) {
  return coded_layers(layers, plan, sides, std::vector<HeldRows>(layers.size()));
}

std::vector<CacheTrial> plan_trials(const Decoder& decoder, std::span<const CachePlan> plans,
                                    CodedSides sides, const policy::PolicyOptions& policies) {
  const auto evictions = std::make_shared<PrefixEvictions>(decoder, policies);
  std::vector<CacheTrial> trials;
  for (const CachePlan& plan : plans) {
    std::map<size_t, size_t> numbers;  // of the evictions of the plan's entries
    for (size_t i = 0; i < plan.layers.size(); ++i)
      if (plan.layers[i].eviction) numbers[i] = evictions->add(*plan.layers[i].eviction);
    trials.push_back({.change =
                          [plan, sides, numbers, evictions](const SplitText& split) {
                            const auto& cache = split.cache().layers;
                            std::vector<HeldRows> held(cache.size());
                            for (size_t l = 0; l < cache.size(); ++l) {
                              const auto number = numbers.find(plan.layers.size() == 1 ? 0 : l);
                              if (number != numbers.end())
                                held[l] = held_of(evictions->sets(split, number->second), l,
                                                  plan.of_layer(l).eviction->policy.info);
                            }
                            return coded_layers(cache, plan, sides, held);
                          },
                      .write =
                          [plan, sides](size_t layer, const LayerKv& kv) {
                            return coded_layer(kv, plan.of_layer(layer), sides, {});
                          }});
  }
  return trials;
}

}  // namespace kvviz
