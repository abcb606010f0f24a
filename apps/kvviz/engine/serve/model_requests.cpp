// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/model_requests.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kvviz/engine/serve/local_models.hpp"
#include "kvviz/model/load.hpp"

namespace kvviz {

NamedModel named_model(const ServeState& state, const std::string& id) {
  const auto loaded = id.empty() ? state.model.loaded() : state.model.get();
  if (loaded && (id.empty() || loaded->id == id))
    return {loaded->id, loaded->folder, loaded->runner.model.decoder.config()};
  const LocalModel local = require_local(state.options, id);
  return {id, local.place, load_config(local.place)};
}

const analysis::CacheType& own_type(const std::filesystem::path& folder) {
  struct Name {
    const char *stored, *ours;
  };
  constexpr Name names[] = {{"float32", "f32"}, {"float16", "f16"}, {"bfloat16", "bf16"}};
  const auto config = read_config(folder);
  for (const char* member : {"dtype", "torch_dtype"}) {
    const auto at = config.find(member);
    if (at == config.end() || !at->is_string()) continue;
    const auto known = std::ranges::find(names, at->get<std::string>(), &Name::stored);
    if (known != std::end(names)) return analysis::parse_cache_type(known->ours);
  }
  return analysis::parse_cache_type("f16");
}

std::vector<int64_t> doubling_lengths(int64_t context) {
  std::vector<int64_t> lengths;
  for (int64_t tokens = 512; tokens <= std::min<int64_t>(context, 131072); tokens *= 2)
    lengths.push_back(tokens);
  return lengths;
}

}  // namespace kvviz
