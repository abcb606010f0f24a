// SPDX-License-Identifier: MIT
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>

#include "fuzz_target.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/weights.hpp"

namespace kvviz::test {

/// What a loader does with a configuration before it looks at weights. Whatever parse_config() lets through
/// has a source for every tensor and numbers that add up.
inline void use(const ModelConfig& config) {
  std::map<std::string, WeightSource> sources;
  for (WeightSource& source : weight_map(config)) sources.emplace(source.ours, std::move(source));
  ModelWeights weights;
  for (const WeightSlot& slot : weight_slots(config, weights)) {
    const auto source = sources.find(slot.name);
    expect(source != sources.end(), "a tensor has no source");
    expect(source->second.first_row >= 0 && slot.shape.front() > 0, "a tensor has no rows");
    const int64_t stored = source->second.stored_rows;
    expect(stored == 0 || stored >= slot.shape.front(), "a part is larger than the tensor it is of");
    if (const int64_t period = source->second.period; period > 0)
      expect(stored % period == 0 && slot.shape.front() % (stored / period) == 0, "parts of unequal size");
  }
  const int64_t parameters = config.parameters(), cached = config.cache_bytes_per_token(4);
  expect(parameters > 0 && parameters <= INT64_MAX / 8, "the bytes of the weights overflow");
  expect(cached > 0 && cached <= INT64_MAX / config.context, "the bytes of the cache overflow");
}

}  // namespace kvviz::test
