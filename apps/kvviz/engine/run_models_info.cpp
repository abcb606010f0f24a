// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "kvviz/analysis/cache_size.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/model_card.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/tables/profile_tables.hpp"

namespace kvviz {
namespace {

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
  std::ranges::move(size_facts(config, type, o.tokens), std::back_inserter(result.summary));
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
  const std::string note =
      cat("longest_context: beside weights in ", o.dtype, "; over several memories: kvviz profile");
  std::printf("\n%s\n", in_lines(note, style.width).c_str());
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_models_info(const kvviz::ModelsInfoOptions& options) {
  return kvviz::guarded([&] { return kvviz::models_info(options); });
}
