// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "kvviz/bind.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/models_command.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

std::string size(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

std::string date(std::filesystem::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time);
  const std::time_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(system.time_since_epoch()).count();
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&seconds, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

std::string revision_text(const hub::CachedRevision& revision) {
  std::string text;
  for (const std::string& ref : revision.refs) text += (text.empty() ? "" : ", ") + ref;
  return text.empty() ? revision.commit.substr(0, 12) : text;
}

std::string state(const hub::CachedRevision& revision) {
  if (revision.missing > 0) return cat(revision.missing, " files missing");
  return revision.weights ? "whole" : "no weights";
}

std::vector<Cell> row(const hub::CachedModel& model, const hub::CachedRevision& revision) {
  const auto or_null = [](const std::string& text, const char* why) {
    return text.empty() ? Cell(Null{why}) : Cell(text);
  };
  return {model.id,
          revision_text(revision),
          or_null(revision.model_type, "no config.json that names one"),
          size(revision.bytes),
          revision.files,
          date(revision.updated),
          state(revision),
          revision.bytes,
          revision.commit,
          (model.folder / "snapshots" / revision.commit).string()};
}

std::vector<Cell> row_without_revision(const hub::CachedModel& model) {
  const Null none{"no revision is complete"};
  return {model.id,     none,        none, size(model.bytes),    int64_t{0}, none,
          "incomplete", model.bytes, none, model.folder.string()};
}

Table table_of(const std::vector<hub::CachedModel>& models) {
  Table table{.name = "models",
              .columns = {{"model", "", ColumnType::text},
                          {"revision", "", ColumnType::text},
                          {"type", "", ColumnType::text},
                          {"size", "", ColumnType::text},
                          {"files", "", ColumnType::integer},
                          {"changed", "", ColumnType::text},
                          {"state", "", ColumnType::text},
                          {"bytes", "bytes", ColumnType::integer},
                          {"commit", "", ColumnType::text},
                          {"folder", "", ColumnType::text}},
              .key = {"model", "revision"}};
  for (const hub::CachedModel& model : models) {
    for (const auto& revision : model.revisions) table.rows.push_back(row(model, revision));
    if (model.revisions.empty()) table.rows.push_back(row_without_revision(model));
  }
  return table;
}

// For a reader the size is a text; bytes, commit and folder are for programs.
Table for_console(Table table) {
  constexpr size_t shown = 7;
  table.columns.resize(shown);
  for (auto& cells : table.rows) cells.resize(shown);
  return table;
}

int list(const ModelsListOptions& o) {
  const auto cache = hub::cache_folder(hub::process_environment());
  const auto models = hub::cached_models(cache);
  const Table table = table_of(models);
  if (o.json == "-") {
    std::printf("%s\n", to_json(table).dump(1).c_str());
    return 0;
  }
  int64_t bytes = 0, incomplete = 0;
  for (const hub::CachedModel& model : models) {
    bytes += model.bytes;
    incomplete += model.incomplete;
  }
  if (!models.empty())
    std::printf("%s\n",
                to_console(for_console(table), {.width = terminal_width(STDOUT_FILENO), .max_rows = 1000000})
                    .c_str());
  std::printf("%zu model%s, %s in %s%s\n", models.size(), models.size() == 1 ? "" : "s", size(bytes).c_str(),
              cache.c_str(), models.empty() ? "; kvviz models pull downloads one" : "");
  if (incomplete > 0)
    std::printf("%s of that are downloads that were broken off; kvviz models pull goes on with them\n",
                size(incomplete).c_str());
  return 0;
}

}  // namespace

Action declare_models_list(CLI::App& app) {
  auto o = std::make_shared<ModelsListOptions>();
  app.add_option("--json", o->json, "-: the list as JSON")->check(CLI::IsMember({"-"}))->group("Output");
  return [o](const CallOptions&) { return list(*o); };
}

}  // namespace kvviz
