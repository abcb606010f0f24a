// SPDX-License-Identifier: MIT
#include "kvviz/report/result.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/core/json_depth.hpp"
#include "kvviz/core/json_number.hpp"

namespace kvviz {
namespace fs = std::filesystem;
namespace {
using nlohmann::ordered_json;

constexpr size_t longest_line = 120;
constexpr int deepest_result = 64;

// Replaces what is not finite by null and says so in `nulls`.
void make_finite(ordered_json& json, const std::string& path, ordered_json& nulls) {
  if (json.is_number_float() && !std::isfinite(json.get<double>())) {
    nulls.push_back({{"path", path}, {"reason", reason_of(json.get<double>())}});
    json = nullptr;
  } else if (json.is_structured()) {
    for (auto& [key, value] : json.items()) make_finite(value, path + '.' + key, nulls);
  }
}

std::string compact(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// What fits into one line stands in one line, and so does every row of a table.
void print(const ordered_json& json, const std::string& indent, std::string& out) {
  const bool flat =
      !json.is_structured() || json.empty() ||
      std::none_of(json.begin(), json.end(), [](const auto& value) { return value.is_structured(); });
  if (flat) {
    const std::string line = compact(json);
    if (!json.is_object() || json.empty() || indent.size() > 4 ||
        line.size() + indent.size() <= longest_line) {
      out += line;
      return;
    }
  }
  const bool object = json.is_object();
  const std::string inner = indent + "  ";
  out += object ? "{\n" : "[\n";
  bool first = true;
  for (const auto& [key, value] : json.items()) {
    if (!first) out += ",\n";
    first = false;
    out += inner;
    if (object) out += compact(key) + ": ";
    print(value, inner, out);
  }
  out += '\n' + indent + (object ? '}' : ']');
}

ordered_json summary_value(const Cell& value) {
  if (!reason_of(value).empty()) return nullptr;
  return std::visit(
      [](const auto& held) -> ordered_json {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, Null>) {
          return nullptr;
        } else {
          return held;
        }
      },
      value);
}

Cell cell_of(const ordered_json& value, const std::string& where) {
  if (const auto whole = whole_number(value)) return *whole;
  if (value.is_number()) return value.get<double>();
  require(value.is_string() || value.is_null(), where, ": got ", value.dump(),
          "; expected a number, text or null");
  if (value.is_string()) return value.get<std::string>();
  return Null{};
}

void check_names(const Result& result) {
  const auto check = [](std::set<std::string>& seen, const std::string& what, const std::string& name) {
    if (!seen.insert(name).second) throw std::logic_error(cat("two ", what, " are named ", name));
  };
  std::set<std::string> facts;
  std::set<std::string> tables;
  for (const Fact& fact : result.summary) check(facts, "facts", fact.key);
  for (const Table& table : result.tables) check(tables, "tables", table.name);
}

}  // namespace

const Fact* find_fact(const Result& result, std::string_view key) {
  const auto at = std::ranges::find(result.summary, key, &Fact::key);
  return at == result.summary.end() ? nullptr : &*at;
}

const Table* find_table(const Result& result, std::string_view name) {
  const auto at = std::ranges::find(result.tables, name, &Table::name);
  return at == result.tables.end() ? nullptr : &*at;
}

std::string to_json(const Result& result) {
  check_names(result);
  ordered_json nulls = ordered_json::array();
  ordered_json provenance = result.provenance;
  make_finite(provenance, "provenance", nulls);

  ordered_json summary = ordered_json::object();
  ordered_json about = ordered_json::object();
  for (const Fact& fact : result.summary) {
    summary[fact.key] = summary_value(fact.value);
    about[fact.key] = {{"label", fact.label}, {"unit", fact.unit}};
    const std::string reason = reason_of(fact.value);
    if (!reason.empty()) nulls.push_back({{"path", "summary." + fact.key}, {"reason", reason}});
  }
  ordered_json tables = ordered_json::object();
  for (const Table& table : result.tables) tables[table.name] = to_json(table);
  ordered_json figures = ordered_json::array();
  for (const FigureFile& figure : result.figures)
    figures.push_back({{"path", figure.path}, {"title", figure.title}});

  ordered_json json = {{"schema", result_schema}, {"command", result.command}};
  json["provenance"] = std::move(provenance);
  json["summary"] = std::move(summary);
  json["summary_about"] = std::move(about);
  json["nulls"] = std::move(nulls);
  json["tables"] = std::move(tables);
  json["figures"] = std::move(figures);
  json["arrays"] = result.arrays.empty() ? ordered_json(nullptr) : ordered_json(result.arrays);
  std::string text;
  print(json, "", text);
  return text + '\n';
}

Result result_from_json(const std::string& text, const std::string& source) {
  require(json_depth(text) <= deepest_result, source, ": brackets stand in more than ", deepest_result,
          " others: not a result file of kvviz");
  try {
    const ordered_json json = ordered_json::parse(text);
    require(json.is_object() && json.contains("schema"), source,
            ": no \"schema\": not a result file of kvviz");
    // get_ref() takes integers alone: get() would convert 1e43, which is undefined.
    const auto schema = json.at("schema").get_ref<const int64_t&>();
    require(schema >= 1 && schema <= result_schema, source, ": got schema ", schema,
            "; this kvviz reads up to ", result_schema);
    Result result{.command = json.at("command").get<std::string>(),
                  .provenance = json.at("provenance"),
                  .summary = {},
                  .tables = {},
                  .figures = {}};
    for (const auto& [key, value] : json.at("summary").items()) {
      const ordered_json& about = json.at("summary_about").at(key);
      result.summary.push_back({key, cell_of(value, cat(source, ": summary.", key)),
                                about.at("unit").get<std::string>(), about.at("label").get<std::string>()});
    }
    for (const ordered_json& null : json.at("nulls"))
      for (Fact& fact : result.summary)
        if ("summary." + fact.key == null.at("path").get<std::string>())
          fact.value = Null{null.at("reason").get<std::string>()};
    for (const auto& [name, table] : json.at("tables").items())
      result.tables.push_back(table_from_json(name, table, source));
    for (const ordered_json& figure : json.at("figures"))
      result.figures.push_back({figure.at("path").get<std::string>(), figure.at("title").get<std::string>()});
    if (!json.at("arrays").is_null()) result.arrays = json.at("arrays").get<std::string>();
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(source, " is not a result file of kvviz: ", error.what()));
  }
}

namespace {

fs::path csv_file(const Result& result, const Table& table) {
  return fs::path("results") / result.command / (table.name + ".csv");
}

// Relative to the folder.
std::set<fs::path> files_of(const Result& result, const ResultFiles& files) {
  std::set<fs::path> all;
  for (const FigureFile& figure : result.figures) all.insert(fs::path(figure.path).lexically_normal());
  if (files.csv)
    for (const Table& table : result.tables) all.insert(csv_file(result, table).lexically_normal());
  if (files.more)
    for (const fs::path& file : files.more(result)) all.insert(file.lexically_normal());
  return all;
}

}  // namespace

void remove_stale_files(const Result& result, const fs::path& folder, const ResultFiles& files) {
  const fs::path json = folder / "results" / (result.command + ".json");
  std::error_code ignored;
  if (!fs::is_regular_file(json, ignored)) return;
  Result earlier;
  try {
    earlier = result_from_json(read_file(json), json.string());
  } catch (const std::exception&) {
    return;  // not kvviz's, or of a later one: nothing is known of its files
  }
  const auto same = [&](const char* key) {
    const auto of = [&](const ordered_json& all) { return all.contains(key) ? all.at(key) : ordered_json(); };
    return of(earlier.provenance) == of(result.provenance);
  };
  if (earlier.command != result.command || (same("model_sha256") && same("text_sha256"))) return;
  const auto kept = files_of(result, files);
  for (const fs::path& file : files_of(earlier, {.csv = true, .more = files.more})) {
    const bool own = file.string().starts_with("graphs/") ||
                     file.parent_path() == fs::path("results") / result.command ||
                     (file.parent_path() == "results" && file.extension() == ".tsv");
    if (own && !kept.contains(file) && fs::is_regular_file(folder / file, ignored))
      fs::remove(folder / file, ignored);
  }
}

namespace {

// The result files of a run in `folder`, for a message.
std::string results_below(const fs::path& folder) {
  std::error_code error;
  std::set<std::string> files;
  for (const fs::path& place : {folder, folder / "results"})
    for (fs::directory_iterator at(place, error), end; !error && at != end; at.increment(error))
      if (at->path().extension() == ".json") files.insert(at->path().string());
  std::string text;
  for (const std::string& file : files) text += (text.empty() ? "; it has " : ", ") + file;
  return text.empty() ? ", without a result file of kvviz" : text;
}

}  // namespace

std::vector<fs::path> write_result(const Result& result, const fs::path& folder, const ResultFiles& files) {
  const fs::path results = folder / "results";
  std::vector<fs::path> written = {results / (result.command + ".json")};
  write_file(written.front(), to_json(result));
  if (!files.csv) return written;
  for (const Table& table : result.tables) {
    written.push_back(folder / csv_file(result, table));
    write_file(written.back(), to_csv(table));
  }
  return written;
}

Result read_result(const fs::path& file) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored))
    throw DataError(cat(file.string(), " is a folder", results_below(file)));
  const std::string text = read_input(file);
  require(!text.starts_with("\x89HDF"), file.string(),
          " is an HDF5 file; expected a result file of kvviz (JSON), such as results/sinks.json");
  return result_from_json(text, file.string());
}

}  // namespace kvviz
