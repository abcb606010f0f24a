// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kvviz/download/api.hpp"
#include "kvviz/hub/token.hpp"
#include "kvviz/network/entry.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

struct Sort {
  const char* name;
  const char* at_hub;
};

constexpr Sort sorts[] = {{"downloads", "downloads"},
                          {"likes", "likes"},
                          {"updated", "lastModified"},
                          {"created", "createdAt"},
                          {"trending", "trendingScore"}};

std::string sort_at_hub(const std::string& name) {
  for (const Sort& sort : sorts)
    if (name == sort.name) return sort.at_hub;
  return name;
}

Cell count_cell(const std::optional<int64_t>& count) {
  return count ? Cell(*count) : Cell(Null{"the hub does not tell"});
}

Cell text_cell(const std::string& text, const char* why_not) {
  return text.empty() ? Cell(Null{why_not}) : Cell(text);
}

Table table_of(const std::vector<hub::FoundModel>& models, const fs::path& cache) {
  Table table{.name = "models",
              .columns = {{"model", "", ColumnType::text},
                          {"downloads", "", ColumnType::integer},
                          {"likes", "", ColumnType::integer},
                          {"gated", "", ColumnType::text},
                          {"updated", "", ColumnType::text},
                          {"cached", "", ColumnType::text}},
              .key = {"model"}};
  for (const hub::FoundModel& model : models) {
    const bool cached = fs::exists(cache / hub::folder_of_id(model.id) / "snapshots");
    table.rows.push_back({model.id, count_cell(model.downloads), count_cell(model.likes),
                          model.gated.empty() ? "no" : model.gated,
                          text_cell(model.updated, "the hub does not tell"), cached ? "yes" : "no"});
  }
  return table;
}

int search(const ModelsSearchOptions& o) {
  const auto environment = hub::process_environment();
  const auto settings = hub::http_settings(environment, hub::find_token(environment, fs::current_path()));
  hub::HttpClient client(settings);
  const auto models = hub::search_models(client, {.query = o.query,
                                                  .limit = o.limit,
                                                  .sort = sort_at_hub(o.sort),
                                                  .filter = o.filter == "any" ? "" : o.filter});
  const Table table = table_of(models, hub::cache_folder(environment));
  if (o.json == "-") {
    std::printf("%s\n", to_json(table).dump(1).c_str());
    return 0;
  }
  if (models.empty()) {
    std::printf(
        "No model matches '%s'%s.\n", o.query.c_str(),
        o.filter == "any" ? "" : cat(" with the tag ", o.filter, "; --filter any searches all").c_str());
    return 0;
  }
  std::printf("%s\n", to_console(table, {.width = terminal_width(STDOUT_FILENO), .max_rows = 1000}).c_str());
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_models_search(const kvviz::ModelsSearchOptions& options) {
  return kvviz::search(options);
}
