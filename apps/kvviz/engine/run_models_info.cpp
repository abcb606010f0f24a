// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <cstdio>

#include "kvviz/analysis/cache_size.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/model_card.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/profile_tables.hpp"

namespace kvviz {
namespace {

using tables::integer;

analysis::CacheShape cache_shape(const ModelConfig& config) {
  analysis::CacheShape shape;
  for (const LayerConfig& layer : config.layers)
    shape.layers.push_back({layer.kv_heads, layer.head_dim, layer.window});
  return shape;
}

std::string sized(const std::string& label, int64_t bytes) {
  return cat(label, " (", size_text(static_cast<double>(bytes)), ")");
}

void add_sizes(std::vector<Fact>& facts, const ModelConfig& config, const ModelsInfoOptions& o) {
  const analysis::CacheShape shape = cache_shape(config);
  const analysis::CacheType& type = analysis::parse_cache_type(o.dtype);
  const int64_t cache = cache_bytes(shape, type, o.tokens);
  const int64_t weights = analysis::weight_bytes(config.parameters(), type, shape.group);
  facts.push_back({"dtype", o.dtype, "", "Sizes below in"});
  facts.push_back(
      {"bytes_per_token", integer(token_bytes(shape, type).total()), "bytes", "Keys and values of a token"});
  facts.push_back(
      {"cache_bytes", integer(cache), "bytes", sized(cat("Cache of ", o.tokens, " tokens"), cache)});
  facts.push_back({"weights_bytes", integer(weights), "bytes", sized("Weights", weights)});
}

void add_machine(std::vector<Fact>& facts, const ModelConfig& config, int64_t tokens) {
  const int64_t needed = model_memory(config, tokens, tokens, 4).total();
  const FreeMemory free = free_memory();
  facts.push_back({"run_bytes", integer(needed), "bytes",
                   sized(cat("kvviz needs for ", tokens, " tokens in f32, about"), needed)});
  facts.push_back(
      {"free_bytes", integer(free.bytes), "bytes", sized(cat("  free: ", free.limit), free.bytes)});
}

std::vector<analysis::MemorySize> memories_of(const std::vector<std::string>& texts) {
  std::vector<analysis::MemorySize> memories;
  for (const std::string& text : texts) {
    const auto size = parse_size(text);
    require<UsageError>(size.has_value(), "--memory ", text,
                        " is no size; expected a number of bytes such as 24GiB, 80GB or 1073741824");
    memories.push_back({text, *size});
  }
  return memories;
}

std::filesystem::path folder_of(const ModelsInfoOptions& o) {
  try {
    return model_folder(o.model, o.call.data);
  } catch (const DataError& error) {
    throw DataError(cat(error.what(), " (for its card alone, --no-weights is enough)"));
  }
}

int models_info(const ModelsInfoOptions& o) {
  const auto memories = memories_of(o.memory);
  const analysis::CacheType& type = analysis::parse_cache_type(o.dtype);
  const ModelConfig config = load_config(folder_of(o));
  Result result{.command = "models info"};
  result.provenance = {{"model", o.model}};
  result.summary = architecture_facts(config);
  add_sizes(result.summary, config, o);
  add_machine(result.summary, config, o.tokens);
  const auto sizes = analysis::cache_sizes(
      cache_shape(config),
      {.tokens = o.tokens,
       .lengths = o.lengths,
       .memories = memories,
       .weights = analysis::weight_bytes(config.parameters(), type, analysis::CacheShape().group)});
  result.tables = {layer_shapes_table(config), projections_table(config),
                   tables::projection_table(sizes, {.dtype = o.dtype, .model_context = config.context}, {}),
                   tables::projection_dtypes_table(sizes), tables::longest_context_table(sizes)};
  if (o.json == "-") {
    std::fputs(to_json(result).c_str(), stdout);
    return 0;
  }
  const ConsoleStyle style{.width = terminal_width(STDOUT_FILENO), .max_rows = 60, .all_columns = "--json -"};
  std::printf("%s\n\n%s", o.model.c_str(), summary_to_console(result, style.width).c_str());
  for (const Table& table : result.tables) {
    const bool one_shape = table.name == "model_layers" && table.rows.size() == 1;
    if (one_shape || table.name == "projection_dtypes") continue;
    std::printf("\n%s\n", to_console(table, style).c_str());
  }
  std::printf("\nlongest_context: beside weights in %s; over several memories: kvviz profile\n",
              o.dtype.c_str());
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_models_info(const kvviz::ModelsInfoOptions& options) {
  return kvviz::guarded([&] { return kvviz::models_info(options); });
}
