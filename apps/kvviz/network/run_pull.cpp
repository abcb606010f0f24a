// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/download/pull.hpp"
#include "kvviz/hub/token.hpp"
#include "kvviz/network/entry.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

std::string size(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

Table table_of(const hub::PullResult& result) {
  Table table{.name = "files",
              .columns = {{"file", "", ColumnType::text},
                          {"size", "bytes", ColumnType::integer},
                          {"missing", "bytes", ColumnType::integer},
                          {"hash", "", ColumnType::text}},
              .key = {"file"}};
  for (const hub::PulledFile& file : result.files)
    table.rows.push_back({file.name, file.bytes, file.missing, file.hash});
  return table;
}

nlohmann::ordered_json json_of(const hub::ModelName& name, const hub::PullResult& result) {
  return {{"model", name.id},
          {"revision", name.revision},
          {"commit", result.commit},
          {"weights", result.weights},
          {"folder", result.folder.string()},
          {"bytes", result.bytes},
          {"missing", result.missing},
          {"received", result.received},
          {"tables", {{"files", to_json(table_of(result))}}}};
}

// The name as other commands take it.
std::string spelling(const hub::ModelName& name, const hub::PullResult& result) {
  const std::string revision = name.revision == hub::ModelName{}.revision ? "" : '@' + name.revision;
  const bool asked = !name.gguf.empty() && result.weights == "gguf";
  return name.id + revision + (asked ? ':' + name.gguf : "");
}

void print_summary(const hub::ModelName& name, const hub::PullResult& result, double seconds) {
  std::string came = "all of it was there";
  if (result.received > 0) {
    const auto rate = static_cast<int64_t>(static_cast<double>(result.received) / std::max(seconds, 1e-3));
    came = cat("downloaded ", size(result.received), seconds >= 0.1 ? " at " + size(rate) + "/s" : "",
               ", hashes checked");
  }
  std::printf("%s (%s, commit %s): %zu files, %s; %s\n", name.id.c_str(), name.revision.c_str(),
              result.commit.substr(0, 12).c_str(), result.files.size(), size(result.bytes).c_str(),
              came.c_str());
  std::printf("in %s\n", result.folder.c_str());
  const std::string model = spelling(name, result);
  if (result.weights.empty())
    std::printf("Next: kvviz profile --model %s\n", model.c_str());
  else
    std::printf("Next: kvviz analyze --model %s\n", model.c_str());
}

void print_plan(const hub::ModelName& name, const hub::PullResult& result) {
  std::printf(
      "%s\n",
      to_console(table_of(result), {.width = terminal_width(STDOUT_FILENO), .max_rows = 1000}).c_str());
  std::printf("%s (commit %s): %s, of which %s would be downloaded\n", name.id.c_str(),
              result.commit.substr(0, 12).c_str(), size(result.bytes).c_str(), size(result.missing).c_str());
}

int pull(const ModelsPullOptions& o) {
  const auto environment = hub::process_environment();
  const auto settings = hub::http_settings(environment, hub::find_token(environment, fs::current_path()));
  if (settings.token && !o.call.quiet)
    std::fprintf(stderr, "with the token %s (%s)\n", masked(settings.token).c_str(),
                 settings.token.source.c_str());
  const hub::PullOptions options{.name = o.name,
                                 .cache = hub::cache_folder(environment),
                                 .weights = !o.no_weights,
                                 .verify = o.verify,
                                 .dry_run = o.dry_run,
                                 .connections = o.connections};
  const auto begin = std::chrono::steady_clock::now();
  hub::PullResult result;
  {
    Progress progress("pulling " + o.name.id, ProgressUnit::bytes, o.call.quiet);
    result = hub::pull(settings, options, [&](int64_t done, int64_t total) { progress.update(done, total); });
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (o.json == "-")
    std::printf("%s\n", json_of(o.name, result).dump(1).c_str());
  else if (o.dry_run)
    print_plan(o.name, result);
  else
    print_summary(o.name, result, seconds);
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_models_pull(const kvviz::ModelsPullOptions& options) {
  return kvviz::pull(options);
}
